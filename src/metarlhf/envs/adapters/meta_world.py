"""Meta-World's ML1, ML10 and ML45 (Yu et al. 2019), in Farama's release: rewards are V2's.

An arm is to do one of many things, each to one of 50 goals, and sees neither which nor where. What
it is tested on is given, not drawn: other goals (ML1), or other things to do (ML10, ML45). What
counts there is success, at any step of an episode.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import metaworld
import numpy as np
from gymnasium import spaces
from jaxtyping import PRNGKeyArray

from metarlhf.envs.adapters.gymnasium_spaces import action_space, observation_space
from metarlhf.envs.adapters.processes import AsyncEnvs
from metarlhf.envs.spaces import ActionSpace, ObservationSpace
from metarlhf.errors import UnknownTaskError
from metarlhf.types import Task

PREFIX = "metaworld/"
REWARD = "v2"
HORIZON, GOALS, TEST_GOALS = 500, 50, 40
# Of the goals, which Meta-World draws once: figures of one seed are of the same tasks.
SEED = 0


class Arm(gymnasium.Env):
    """The arm, which is told by number what to do, and whether an episode ends when it is done."""

    def __init__(self, tasks: Sequence[Any], kinds: dict[str, type]):
        self.tasks, self.kinds, self.rooms = tasks, kinds, {}
        self.room: Any = None
        self.ends = False
        self.observation_space = spaces.Box(-np.inf, np.inf, (39,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    def set_task(self, task: Any) -> None:
        """From now on it is in the room of this task, and `ends` with a success or does not."""
        told = self.tasks[int(task["number"])]
        self.ends = bool(task["ends"])
        if told.env_name not in self.rooms:
            kind = self.kinds[told.env_name]
            self.rooms[told.env_name] = kind(reward_function_version=REWARD)
        self.room = self.rooms[told.env_name]
        self.room.set_task(told)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.room.reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, reward, _, truncated, info = self.room.step(action)
        return obs, float(reward), self.ends and info["success"] == 1.0, bool(truncated), {}

    def close(self) -> None:
        for room in self.rooms.values():
            room.close()


class MetaWorld:
    """`metaworld/ML10`, `metaworld/ML45`, or `metaworld/ML1-reach-v3` for any one thing to do.

    Raises:
        UnknownTaskError: there is no such benchmark.
    """

    horizon = HORIZON

    def __init__(self, name: str):
        self.name = name
        which, _, only = name.removeprefix(PREFIX).partition("-")
        known = {"ML10": metaworld.ML10, "ML45": metaworld.ML45}
        if which == "ML1" and only in metaworld.ML1.ENV_NAMES:
            self._make = partial(metaworld.ML1, only, seed=SEED)
            self.varies = f"the goal of {only} (rewards V2)"
        elif name.removeprefix(PREFIX) in known:
            self._make = partial(known[which], seed=SEED)
            self.varies = f"what to do, of {which[2:]} things, and its goal (rewards V2)"
        else:
            raise UnknownTaskError(
                f"{name!r} is none of Meta-World's: expected metaworld/ML10, metaworld/ML45 or "
                f"metaworld/ML1-NAME, where NAME is one of {', '.join(metaworld.ML1.ENV_NAMES)}"
            )

    def sample(self, key: PRNGKeyArray) -> Task:
        number = jax.random.randint(key, (), 0, len(self._bench.train_tasks))
        return {"number": number, "ends": jnp.zeros((), bool)}

    def test_tasks(self) -> Task:
        """All that it is tested on: 40 goals of each thing to do, all things by turns."""
        kinds, before = len(self._bench.test_classes), len(self._bench.train_tasks)
        goals = jnp.arange(TEST_GOALS)[:, None] + GOALS * jnp.arange(kinds)
        number = before + goals.ravel()
        return {"number": number, "ends": jnp.zeros(number.shape, bool)}

    def until_success(self, tasks: Task) -> Task:
        """The same tasks, whose episodes end with a success, and so tell of it."""
        return tasks | {"ends": jnp.ones_like(tasks["ends"])}

    def connect(self, num_envs: int) -> AsyncEnvs:
        """So many arms, in a process for each core; tell them their tasks first."""
        bench = self._bench
        tasks = [*bench.train_tasks, *bench.test_tasks]
        kinds = dict(bench.train_classes) | dict(bench.test_classes)
        return AsyncEnvs(partial(Arm, tasks, kinds), num_envs, self.name, self.horizon)

    @property
    def observation_space(self) -> ObservationSpace:
        return observation_space(Arm([], {}).observation_space)

    @property
    def action_space(self) -> ActionSpace:
        return action_space(Arm([], {}).action_space)

    @cached_property
    def _bench(self) -> Any:
        """Meta-World tries every goal out: seconds for ML1, a quarter of a minute for ML10."""
        return self._make()
