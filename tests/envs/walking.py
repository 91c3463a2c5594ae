"""A Gymnasium environment full of chance that draws itself: a point that is pushed and blown about.

Importing this registers it, one that is different each time, one that never ends, and one that
draws nothing.
"""

import gymnasium
import numpy as np
from gymnasium import spaces

STEPS = 25


class Walking(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - Gymnasium's
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.normal(size=2).astype(np.float32)
        return self.at.copy(), {}

    def step(self, action):
        blown = self.np_random.normal(scale=0.1, size=2)
        pushed = np.array([0.2 * float(action[0]), 0.0])
        self.at = (self.at + pushed + blown).astype(np.float32)
        far = bool(np.abs(self.at).max() > 3)
        return self.at.copy(), float(self.at[0]), far, False, {}

    def render(self):
        """A white square where it is, on black."""
        frame = np.zeros((40, 60, 3), np.uint8)
        x, y = int(30 + 9 * self.at[0]), int(20 - 6 * self.at[1])
        frame[max(0, y - 3) : max(0, y + 3), max(0, x - 3) : max(0, x + 3)] = 255
        return frame


class Moody(Walking):
    """Heeds no seed."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None, options=options)


class Unseen(Walking):
    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's


gymnasium.register("Walking-v0", Walking, max_episode_steps=STEPS)
gymnasium.register("Moody-v0", Moody, max_episode_steps=STEPS)
gymnasium.register("Endless-v0", Walking)
gymnasium.register("Unseen-v0", Unseen, max_episode_steps=STEPS)
