"""Environments in processes of their own, as many to a process as there are for each core.

A message to a process costs tens of microseconds, as much as a step of MuJoCo's. With an
environment to a process, and more of them than cores, that is most of the time. Here a process
steps several environments for each message.

Gymnasium's `AsyncVectorEnv` does the rest: to it a worker is one environment, whose observation is
all that its environments have to say. That lies in shared memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

from metarlhf.envs.adapters.gymnasium_spaces import (
    action_space,
    observation_space,
    seen_last,
    to_action,
    to_observation,
)
from metarlhf.envs.base import HostObservation, HostStep, cores, host_step

Make = Callable[[], gymnasium.Env]


class WorkerEnv(gymnasium.Env):
    """One worker's `count` environments as a single one that never ends.

    Its observation holds those of all of them, their rewards, and which ended.
    """

    def __init__(self, make: Make, count: int):
        self.envs = SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)
        seen = batch_space(self.envs.single_observation_space, count)
        flags, pay = spaces.MultiBinary(count), spaces.Box(-np.inf, np.inf, (count,), np.float32)
        self.observation_space = spaces.Dict(
            {"obs": seen, "last": seen, "reward": pay, "terminated": flags, "truncated": flags}
        )
        self.action_space = batch_space(self.envs.single_action_space, count)
        self.count = count

    @property
    def tasks(self) -> Any:
        """What its environments are told to do, which nobody asks; set, each is told its own."""
        raise AttributeError("a worker keeps no tasks: its environments do")

    @tasks.setter
    def tasks(self, tasks: list[Any]) -> None:
        for env, task in zip(self.envs.envs, tasks, strict=True):
            told: Any = env.unwrapped
            told.set_task(task)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        obs, _ = self.envs.reset(seed=seed)
        none = np.zeros(self.count, np.int8)
        return self._told(obs, obs, np.zeros(self.count), none, none), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        obs, reward, terminated, truncated, info = self.envs.step(action)
        last, ended = obs, terminated | truncated
        if ended.any():
            last = seen_last(self.envs, obs, info["final_obs"], ended)
        return self._told(obs, last, reward, terminated, truncated), 0.0, False, False, {}

    def _told(self, obs, last, reward, terminated, truncated) -> dict[str, Any]:
        return {
            "obs": obs,
            "last": last,
            "reward": np.asarray(reward, np.float32),
            "terminated": np.asarray(terminated, np.int8),
            "truncated": np.asarray(truncated, np.int8),
        }

    def close(self) -> None:
        self.envs.close()


class AsyncEnvs:
    """A `HostEnv` of `num_envs` environments in a process for each core, this one among them.

    This process is the first worker and steps while it waits for the others: to sleep and be woken
    takes as long as a step.
    """

    def __init__(self, make: Make, num_envs: int, name: str, horizon: int | None = None):
        self.name, self.num_envs, self.horizon = name, num_envs, horizon
        self.workers = num_workers(num_envs, cores())
        self._size = num_envs // self.workers
        self._own, others = WorkerEnv(make, self._size), [partial(WorkerEnv, make, self._size)]
        self._others = None
        if self.workers > 1:
            # Forking is unsafe beside JAX's threads.
            others = others * (self.workers - 1)
            self._others = AsyncVectorEnv(others, copy=False, context="spawn")
        self._sees = self._own.envs.single_observation_space
        self._does = self._own.envs.single_action_space
        self.observation_space = observation_space(self._sees)
        self.action_space = action_space(self._does)

    def set_tasks(self, tasks: Any) -> None:
        """Tell each environment its task; leaves have a leading dimension `env`.

        It takes a `set_task` of theirs. A new episode should begin before the next step.
        """
        tasks = jax.tree.map(np.asarray, tasks)
        each = [jax.tree.map(lambda x: x[env], tasks) for env in range(self.num_envs)]
        workers = [each[i : i + self._size] for i in range(0, self.num_envs, self._size)]
        self._own.tasks = workers[0]
        if self._others is not None:
            self._others.set_attr("tasks", workers[1:])

    def reset(self, seed: int) -> HostObservation:
        # A worker numbers its environments from the seed it is given: no two get the same seed.
        if self._others is not None:
            seeds: Any = [seed + self._size * worker for worker in range(1, self.workers)]
            self._others.reset_async(seed=seeds)
        own = self._own.reset(seed=seed)[0]
        others = None if self._others is None else self._others.reset_wait()[0]
        return self._seen(own, others, "obs")

    def step(self, actions: np.ndarray) -> HostStep:
        told = to_action(self._does, actions)
        told = told.reshape(self.workers, self._size, *told.shape[1:])
        if self._others is not None:
            self._others.step_async(told[1:])
        own = self._own.step(told[0])[0]
        others = None if self._others is None else self._others.step_wait()[0]
        flat = {name: _rows(own, others, name) for name in ("reward", "terminated", "truncated")}
        last, seen = self._seen(own, others, "last"), self._seen(own, others, "obs")
        return host_step(last, seen, **flat)

    def close(self) -> None:
        self._own.close()
        if self._others is not None:
            self._others.close()

    def _seen(self, own: Any, others: Any, name: str) -> HostObservation:
        return to_observation(self._sees, _rows(own, others, name))


def _rows(own: Any, others: Any, name: str) -> Any:
    """What all environments have to say under `name`, a row each, the own worker's first."""
    if others is None:
        return own[name]
    join = lambda one, more: np.concatenate([one[None], more]).reshape(-1, *one.shape[1:])
    return jax.tree.map(join, own[name], others[name])


def num_workers(num_envs: int, cores: int) -> int:
    """As many workers of equal size as there are cores, or as few fewer as divide the environments.

    Where that would leave one, each environment has a process.
    """
    best = max(n for n in range(1, min(num_envs, cores) + 1) if num_envs % n == 0)
    return num_envs if best == 1 and cores > 1 else best
