"""What it takes to see again what a simulator did: an episode's seed, and all that was done in it.

Pictures take far longer than steps, so an agent learns without any. What a person is to look at is
done again, with pictures, in another process.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from metarlhf.envs.base import HostEnv, HostObservation, HostStep


class Replay(NamedTuple):
    """A stretch of an episode: the last steps of `actions`, from step `start` on.

    `actions` are in the simulator's units, from the episode's first step on.
    """

    seed: int
    actions: Shaped[np.ndarray, "time ..."]
    start: int


def episode_seed(first: int, episode: int) -> int:
    """The seed of an environment's episode, 0 being the one that the seed `first` began."""
    if episode == 0:
        return first
    return int(np.random.SeedSequence([first, episode]).generate_state(1)[0] >> 1)


class Remembered:
    """A `HostEnv` that knows how to see again what it did since the last `forget`.

    Each episode of `env` must begin from `episode_seed` of its environment's seed, which is the
    seed of `reset` plus the environment's number: `connect` with `seeded` makes such environments.
    """

    def __init__(self, env: HostEnv):
        self._env = env
        self.name, self.num_envs, self.horizon = env.name, env.num_envs, env.horizon
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._begin(0)

    def _begin(self, seed: int) -> None:
        self._seed, self._steps, self._kept_from = seed, 0, 0
        self._actions: list[np.ndarray] = []
        # Of each environment: the steps at which its episodes began, and how many were forgotten.
        self._begins: list[list[int]] = [[0] for _ in range(self.num_envs)]
        self._before = [0] * self.num_envs

    @property
    def steps(self) -> int:
        """Steps since `reset`, in every environment."""
        return self._steps

    def reset(self, seed: int) -> HostObservation:
        self._begin(seed)
        return self._env.reset(seed)

    def step(self, actions: Shaped[np.ndarray, "env ..."]) -> HostStep:
        self._actions.append(np.array(actions))
        self._steps += 1
        step = self._env.step(actions)
        for env in np.flatnonzero(step.terminated | step.truncated):
            self._begins[env].append(self._steps)
        return step

    def forget(self, before: int) -> None:
        """Keep only what it takes to see again the steps from `before` on."""
        for env, begins in enumerate(self._begins):
            while len(begins) > 1 and begins[1] <= before:
                begins.pop(0)
                self._before[env] += 1
        oldest = min(begins[0] for begins in self._begins)
        del self._actions[: oldest - self._kept_from]
        self._kept_from = oldest

    def replay(self, env: int, step: int, length: int) -> Replay:
        """How to see again `length` steps of environment `env`, from `step` on, in one episode."""
        begins = self._begins[env]
        index = max(i for i, begin in enumerate(begins) if begin <= step)
        begin = begins[index]
        done = self._actions[begin - self._kept_from : step + length - self._kept_from]
        seed = episode_seed(self._seed + env, self._before[env] + index)
        return Replay(seed, np.stack([actions[env] for actions in done]), step - begin)

    def close(self) -> None:
        self._env.close()
