"""What a task family is: a distribution over tasks and one simulator that takes any of them.

The signature is that of Gymnax's functional environments with the task in the place of `params`:
`reset(key, task)` and `step(key, state, action, task)` are pure functions, so `vmap` over tasks,
environments and seeds is free. `step` never resets by itself: the rollout does, and keeps the final
observation, because termination is not truncation.
"""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from metarlhf.envs.spaces import ActionSpace, Box, Discrete, ObservationSpace
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
