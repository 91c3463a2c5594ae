"""What is believed about a reward, whichever way it is learned.

A belief is a weighted set of reward functions, its *members*: the networks of an ensemble, or the
particles of a posterior. Questions are chosen by what the members disagree about; the policy is
trained on their mean.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.types import Feedback, Segment


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
