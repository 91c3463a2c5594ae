"""A Gymnasium environment that draws itself: a picture as bright as steps were made.

Importing this registers it.
"""

import gymnasium
import numpy as np
from gymnasium import spaces

STEPS = 6


class Filmed(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 - Gymnasium's
    observation_space = spaces.Box(0.0, 10.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.pays = 0, self.np_random.uniform()
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.full(1, self.time, np.float32), self.pays, self.time == STEPS, False, {}

    def render(self):
        return np.full((32, 48, 3), 40 * self.time, np.uint8)


gymnasium.register("Filmed-v0", Filmed)
