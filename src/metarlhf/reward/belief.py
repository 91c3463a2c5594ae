"""What is believed about a reward, whichever way it is learned.

A belief is a weighted set of reward functions, its *members*: the networks of an ensemble, or the
particles of a posterior. Questions are chosen by what the members disagree about; the policy is
trained on their mean.
"""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.types import Feedback, Segment, Trajectory


@runtime_checkable
class Belief(Protocol):
    """A weighted set of reward functions that takes answers in."""

    @property
    def weight(self) -> Float[Array, " member"]:
        """How much each member is believed; sums to 1."""
        ...

    @property
    def sharpness(self) -> Float[Array, "*#member"]:
        """Comparisons follow Bradley-Terry on predicted sums times this."""
        ...

    @property
    def rating_log_std(self) -> Float[Array, "*#member"]:
        """Logarithm of how far marks stray from predictions, as a share of the scale."""
        ...

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """Mean reward of a step."""
        ...

    def clip_sums(self, clips: Segment) -> Float[Array, "member clip"]:
        """Sum of the rewards of each clip, as each member sees it."""
        ...

    def adapt(self, key: PRNGKeyArray, feedback: Feedback) -> "Belief":
        """The belief given all answers so far."""
        ...

    def condition(self, log_likelihood: Float[Array, " member"]) -> "Belief":
        """A quick update by one answer, between two questions of a round."""
        ...

    def context(self) -> Float[Array, " context"]:
        """What a policy can be told about the task; empty if there is nothing to tell."""
        ...

    def sample_contexts(self, key: PRNGKeyArray, count: int) -> Float[Array, "count context"]:
        """Contexts of tasks that the belief holds possible, for behaviour worth asking about."""
        ...


class LearnedReward(eqx.Module):
    """Pays trajectories with a belief's mean reward, standardised on `reference` clips.

    A reward learned from comparisons is known up to scale and offset only. Where episodes may end
    early (`may_end`), the offset decides whether an agent ends them. What comes after an end pays
    nothing, so no step of the clips is paid less than that.
    """

    belief: Belief
    offset: Float[Array, ""]
    std: Float[Array, ""]

    def __init__(self, belief: Belief, reference: Segment, may_end: bool = False):
        seen = belief(reference.obs, reference.action)
        self.belief = belief
        self.offset = jnp.min(seen) if may_end else jnp.mean(seen)
        self.std = jnp.std(seen) + 1e-6

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """The same trajectory with the learned reward; what the task paid stays on record."""
        return trajectory.with_reward(self.of(trajectory.obs, trajectory.action))

    def of(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """What steps are paid."""
        return (self.belief(obs, action) - self.offset) / self.std
