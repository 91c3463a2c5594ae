"""A family of simulators in NumPy that can be reckoned by hand: steps to a target on a line."""

import numpy as np

from metarlhf.envs import Box
from metarlhf.envs.base import host_step

HORIZON = 5


class Targets:
    """A `TaskedEnv`: each point moves by its action and is paid -|distance| to its own target."""

    name, horizon = "targets", HORIZON
    observation_space = Box(1, -9.0, 9.0, ("x",))
    action_space = Box(1, -1.0, 1.0, ("move",))

    def __init__(self, num_envs, ends=False):
        self.num_envs, self.ends, self.targets = num_envs, ends, np.full(num_envs, np.nan)
        self.seeds = []

    def set_tasks(self, tasks):
        self.targets = np.array(tasks, np.float32)

    def reset(self, seed):
        self.seeds.append(seed)
        self.rng = np.random.default_rng(seed)
        self.x, self.time = self.start(self.num_envs), np.zeros(self.num_envs, int)
        return self.x[:, None].copy()

    def start(self, count):
        return self.rng.uniform(-0.1, 0.1, count).astype(np.float32)

    def step(self, actions):
        self.x, self.time = self.x + actions[:, 0], self.time + 1
        reward = -np.abs(self.x - self.targets)
        terminated = self.ends & (reward > -0.3)
        truncated = self.time >= HORIZON
        seen, over = self.x[:, None].copy(), terminated | truncated
        self.x[over], self.time[over] = self.start(over.sum()), 0
        return host_step(seen, self.x[:, None].copy(), reward, terminated, truncated)

    def close(self):
        pass
