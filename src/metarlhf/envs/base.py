"""What tasks, task families and simulators are: the protocols that all else takes.

A task family is a distribution over tasks and one simulator that takes any of them. Its signature
is that of Gymnax's functional environments with the task in the place of `params`: `reset(key,
task)` and `step(key, state, action, task)` are pure functions, so `vmap` over tasks, environments
and seeds is free. `step` never resets by itself: the rollout does, and keeps the final observation,
because termination is not truncation.

A host simulator, `HostEnv`, is one that is not JAX: a batch of environments that step together in
Python. Other people's vector environments differ in what they do when an episode ends: some reset
at once and hide the final observation, some spend the next step on the reset and pay nothing for
it, some wait to be told. Here they are all alike. An environment whose episode ended is reset
within the same `step`, which gives both observations: the one that the action led to, and the one
to act on. So every step is a step of the task, and a truncated episode bootstraps from what was
really seen.
"""

import os
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree, Shaped, UInt8

from metarlhf.envs.spaces import ActionSpace, Box, Discrete, ObservationSpace
from metarlhf.errors import SimulatorError
from metarlhf.types import Observation, State, Task


class Step(NamedTuple):
    """What one step of a simulator gives."""

    obs: Observation
    state: State
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


@runtime_checkable
class Spaces(Protocol):
    """What can be observed and done: all that networks need to know of an environment."""

    @property
    def observation_space(self) -> ObservationSpace:
        """What an agent sees."""
        ...

    @property
    def action_space(self) -> ActionSpace:
        """What it can do."""
        ...


@runtime_checkable
class Tasks(Spaces, Protocol):
    """A distribution over tasks, whichever simulator they are of."""

    name: str
    horizon: int
    """Steps until an episode is truncated."""

    def sample(self, key: PRNGKeyArray) -> Task:
        """Draw a task. Held-out tasks are other keys."""
        ...


@runtime_checkable
class Environment(Tasks, Protocol):
    """A simulator and a distribution over its tasks: all that PPO needs."""

    def reset(self, key: PRNGKeyArray, task: Task) -> tuple[Observation, State]:
        """Start an episode."""
        ...

    def step(
        self, key: PRNGKeyArray, state: State, action: Shaped[Array, "*action"], task: Task
    ) -> Step:
        """Advance the simulator by one action."""
        ...


@runtime_checkable
class Shown(Protocol):
    """What is done somewhere, as people are shown it in clips: all that a learned reward needs."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def segment_length(self) -> int:
        """Steps of the clips that a person is asked about."""
        ...

    @property
    def observation_space(self) -> Box:
        """What is seen in them."""
        ...

    @property
    def action_space(self) -> Box | Discrete:
        """What is done in them."""
        ...

    # Optional: `terminates`, whether an episode may end before the horizon (see `may_end`).


@runtime_checkable
class TaskFamily(Environment, Shown, Protocol):
    """A family of related tasks: what is shared, and a distribution over what varies."""

    varies: str
    """In words: what differs from task to task, which the agent is never told."""
    segment_length: int
    observation_space: Box
    """Its names and units stand in reports, as do those of the actions."""
    action_space: Box | Discrete
    reward_bounds: tuple[float, float]
    """Worst and best reward of one step that a teacher would call 1 and 10 on a scale of ten."""

    def reward(
        self,
        obs: Float[Array, " obs"],
        action: Shaped[Array, "*action"],
        next_obs: Float[Array, " obs"],
        task: Task,
    ) -> Float[Array, ""]:
        """What `task` pays for a step, for any step of the family.

        It lets a simulated teacher judge a clip that was recorded under another task.
        """
        ...

    def without_termination(self) -> "TaskFamily":
        """The same family where no episode ends at the hidden goal: that would give it away.

        Families whose episodes end for other reasons, or never, are returned as they are.
        """
        return self


def may_end(family: Environment | Shown) -> bool:
    """Whether an episode may end before the horizon: `family.terminates`, or yes without it."""
    return getattr(family, "terminates", True)


HostObservation = PyTree[Shaped[np.ndarray, "env ..."]]


class HostStep(NamedTuple):
    """What one step of all environments gives; the arrays are the caller's to keep."""

    next_obs: HostObservation
    """What followed the action, before any reset."""
    reward: Float[np.ndarray, " env"]
    terminated: Bool[np.ndarray, " env"]
    truncated: Bool[np.ndarray, " env"]
    """By a time limit alone: never where `terminated`."""
    obs: HostObservation
    """What to act on next: the first observation of a new episode where one ended."""


@runtime_checkable
class HostEnv(Spaces, Protocol):
    """`num_envs` environments that step together. It changes as it steps, unlike all else here."""

    name: str
    num_envs: int
    horizon: int | None
    """Steps until an episode is truncated; None where nobody says."""

    def reset(self, seed: int) -> HostObservation:
        """Begin anew in every environment; all that is random from here on follows from `seed`."""
        ...

    def step(self, actions: Shaped[np.ndarray, "env ..."]) -> HostStep:
        """Act in every environment, in the units of `action_space`."""
        ...

    def close(self) -> None:
        """End its processes, if it has any."""
        ...


@runtime_checkable
class TaskedEnv(HostEnv, Protocol):
    """A `HostEnv` whose environments are told their tasks."""

    def set_tasks(self, tasks: Task) -> None:
        """Tell each environment its task; leaves have a leading dimension `env`."""
        ...


@runtime_checkable
class HostFamily(Tasks, Protocol):
    """A family of host simulators."""

    varies: str
    """In words: what differs from task to task, which the agent is never told."""

    def connect(self, num_envs: int) -> TaskedEnv:
        """So many environments that step together; close them when done."""
        ...


@runtime_checkable
class TestedFamily(HostFamily, Protocol):
    """A family with tasks to be tested on, where success counts."""

    def test_tasks(self) -> Task:
        """All of them, leaves with a leading `task`."""
        ...

    def until_success(self, tasks: Task) -> Task:
        """The same tasks, whose episodes end with a success, and with nothing else before."""
        ...


@runtime_checkable
class FilmedEnv(HostEnv, Protocol):
    """A `HostEnv` of one environment that can be looked at."""

    frames_per_second: float
    """At which a film of every step shows it as fast as it is."""

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """How it looks now, in red, green and blue."""
        ...


def host_step(
    next_obs: HostObservation,
    obs: HostObservation,
    reward: Any,
    terminated: Any,
    truncated: Any,
) -> HostStep:
    """A `HostStep` of these, in the types that it promises."""
    terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
    reward = np.array(reward, np.float32)
    return HostStep(next_obs, reward, terminated, truncated & ~terminated, obs)


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ShownEnv(NamedTuple):
    """A `Shown` of a simulator: a plain value, which outlives it."""

    name: str
    observation_space: Box
    action_space: Box | Discrete
    segment_length: int

    @staticmethod
    def of(env: HostEnv, segment_length: int) -> "ShownEnv":
        """Of the simulator `env`, in clips of so many steps.

        Raises:
            SimulatorError: its observations, actions or episodes are none that a reward is learned
                from.
        """
        sees, does = env.observation_space, env.action_space
        if not isinstance(sees, Box) or not isinstance(does, Box | Discrete):
            raise SimulatorError(
                f"a reward is learned from observations that are vectors, and from one choice or a "
                f"vector of actions; {env.name} has {type(sees).__name__} and "
                f"{type(does).__name__}. Wrap it, for example in "
                "gymnasium.wrappers.FlattenObservation"
            )
        if env.horizon is not None and env.horizon < segment_length:
            raise SimulatorError(
                f"episodes of {env.name} have {env.horizon} steps at most, and clips are to have "
                f"{segment_length}: name a smaller --segment-length"
            )
        return ShownEnv(env.name, sees, does, segment_length)
