"""A Gymnasium environment whose every number can be worked out by hand.

The observation is the number of steps taken, which is also what the next step pays. Episodes end
by turns: by themselves after three steps, cut short after five. The seed says which comes first.
Importing this registers it, and a guessing game that is learned in no time.
"""

import gymnasium
import numpy as np
from gymnasium import spaces

TERMINATES, TRUNCATES = 3, 5


class Counting(gymnasium.Env):
    observation_space = spaces.Box(0.0, np.inf, (1,), np.float64)
    action_space = spaces.Box(-3.0, 3.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode = seed if seed is not None else self.episode + 1
        self.time = 0
        return np.zeros(1), {}

    def step(self, action):
        assert self.action_space.contains(action)
        reward, self.time = float(self.time), self.time + 1
        terminated = self.episode % 2 == 0 and self.time == TERMINATES
        return np.full(1, self.time, np.float64), reward, terminated, self.time == TRUNCATES, {}


def worked_out(seed, steps):
    """What is seen, what follows, and how each step ends, for one environment."""
    obs, next_obs, terminated, truncated = [], [], [], []
    episode, time = seed, 0
    for _ in range(steps):
        ends = TERMINATES if episode % 2 == 0 else TRUNCATES
        obs.append(time)
        next_obs.append(time + 1)
        terminated.append(time + 1 == ends == TERMINATES)
        truncated.append(time + 1 == ends == TRUNCATES)
        episode, time = (episode + 1, 0) if time + 1 == ends else (episode, time + 1)
    return obs, next_obs, terminated, truncated


class Guess(gymnasium.Env):
    """Say which of two it is; ten times."""

    observation_space = spaces.Discrete(2, start=7)
    action_space = spaces.Discrete(2, start=3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.asked = self.np_random.integers(2)
        return self.asked + 7, {}

    def step(self, action):
        paid = float(action - 3 == self.asked)
        self.asked = self.np_random.integers(2)
        return self.asked + 7, paid, False, False, {}


gymnasium.register("Counting-v0", Counting)
gymnasium.register("Guess-v0", Guess, max_episode_steps=10)
