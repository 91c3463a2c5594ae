"""What a sampler is: a policy in environments -> trajectories."""

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import Spaces, Tasks
from metarlhf.networks import Agent, Policy
from metarlhf.types import Observation, State, Task, Trajectory

# Folded into a training state's key for its evaluation. JAX's `fold_in` by a small number gives the
# very keys that `split` does: evaluation would play with the noise that training plays with next.
EVALUATION = 0xE7A1


# Where nobody says what the worst and the best step are paid.
UNKNOWN_BOUNDS = (float("nan"), float("nan"))


class RolloutState(NamedTuple):
    """Where a batch of environments and their policy stand between two rollouts."""

    obs: Observation
    env: State
    """Of a compiled environment its state; of a host simulator the return of the episode so far."""
    policy: State


@runtime_checkable
class Sampler(Protocol):
    """A policy acts in `num_envs` environments of one task."""

    pure: ClassVar[bool]
    """Whether its methods are pure functions, which `jit` and `vmap` may trace."""

    @property
    def num_envs(self) -> int:
        """Environments that step side by side."""
        ...

    @property
    def name(self) -> str:
        """Of the environment."""
        ...

    @property
    def spaces(self) -> Spaces:
        """Of what can be observed and done."""
        ...

    @property
    def shown(self) -> Any:
        """What people are shown of it in clips, a `Shown`; None where nobody is."""
        ...

    @property
    def reward_bounds(self) -> tuple[float, float]:
        """True reward of the worst and the best step; NaN where nobody knows."""
        ...

    def without_termination(self) -> "Sampler":
        """The same where no episode ends at a hidden goal: that would give it away."""
        ...

    def reset(self, key: PRNGKeyArray, actor: Policy) -> RolloutState:
        """Begin an episode in every environment."""
        ...

    def collect(
        self, key: PRNGKeyArray, actor: Policy, state: RolloutState, steps: int
    ) -> tuple[RolloutState, Trajectory]:
        """Act for `steps` in every environment, each reset where its episode ends.

        Returns the state to go on from, and a trajectory with leading dimensions (env, time).
        """
        ...

    def episodes(
        self, key: PRNGKeyArray, actor: Policy, count: int, deterministic: bool = False
    ) -> Trajectory:
        """So many fresh episodes until the horizon, a row each: dimensions (episode, time).

        What follows an earlier end in a row is the next episode.
        """
        ...

    def statistics(self, start: RolloutState, trajectory: Trajectory) -> dict[str, Any]:
        """What metrics say of episodes that ended in a trajectory collected from `start`."""
        ...

    def evaluate(
        self, key: PRNGKeyArray, actor: Policy, episodes: int, deterministic: bool = True
    ) -> Float[Array, " episode"] | Float[np.ndarray, " episode"]:
        """True returns of so many whole episodes, apart from those that `collect` goes on with."""
        ...


@runtime_checkable
class TaskSampler(Protocol):
    """Policies act in a batch of tasks, each in its own."""

    pure: ClassVar[bool]
    """As of a `Sampler`."""

    @property
    def family(self) -> Tasks:
        """Whose tasks these are."""
        ...

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        ...

    def sample_tasks(self, key: PRNGKeyArray, count: int) -> Task:
        """`count` tasks of the family; leaves have a leading dimension `task`."""
        ...

    def episodes(
        self,
        key: PRNGKeyArray,
        tasks: Task,
        agents: Agent,
        count: int,
        deterministic: bool = False,
    ) -> Trajectory:
        """`count` whole episodes of every task by its own agent: dimensions (task, episode, time).

        Leaves of `tasks` and `agents` have a leading dimension `task`.
        """
        ...


def episode_return(trajectory: Trajectory) -> Float[Array, "*batch"]:
    """Sum of the task's reward until the first episode end, for rollouts that start an episode."""
    ended_before = jnp.cumsum(trajectory.done, axis=-1) - trajectory.done > 0
    return jnp.sum(jnp.where(ended_before, 0.0, trajectory.task_reward), axis=-1)
