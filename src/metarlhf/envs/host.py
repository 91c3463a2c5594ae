"""What a simulator outside the compiled program is: a batch of environments that step together.

Other people's vector environments differ in what they do when an episode ends: some reset at once
and hide the final observation, some spend the next step on the reset and pay nothing for it, some
wait to be told. Here they are all alike. An environment whose episode ended is reset within the
same `step`, which gives both observations: the one that the action led to, and the one to act on.
So every step is a step of the task, and a truncated episode bootstraps from what was really seen.
"""

import os
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, PyTree, Shaped, UInt8

from metarlhf.envs.base import Spaces, Tasks
from metarlhf.types import Task

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
    """A family whose simulators step outside the compiled program."""

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
