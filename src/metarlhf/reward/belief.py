"""What is believed about a reward, whichever way it is learned.

A belief is a weighted set of reward functions, its *members*: the networks of an ensemble, or the
particles of a posterior. Questions are chosen by what the members disagree about; the policy is
trained on their mean.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
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

    def share_of_guesses(self, feedback: Feedback) -> Float[Array, " annotator"]:
        """What share of their comparisons each person is believed to guess, given these answers;
        half of what is guessed is wrong.
        """
        ...

    def context(self) -> Float[Array, " context"]:
        """What a policy can be told about the task; empty if there is nothing to tell."""
        ...

    def sample_contexts(self, key: PRNGKeyArray, count: int) -> Float[Array, "count context"]:
        """Contexts of tasks that the belief holds possible, for behaviour worth asking about."""
        ...


def wrong_answers(belief: Belief, feedback: Feedback, names: Sequence[str]) -> dict[str, float]:
    """Share of each person's comparisons that are believed to be wrong, by name.

    Who compared nothing has none; nobody has where every answer is taken at its word, and people
    without a number of their own (`metarlhf.reward.guesses.ANNOTATORS`) have that of all of them.
    """
    share = np.asarray(belief.share_of_guesses(feedback))
    by = np.asarray(feedback.comparisons.annotator)[np.asarray(feedback.comparisons.weight) > 0]
    if not share.any():
        return {}
    each = {name: float(share[min(i, len(share) - 1)]) for i, name in enumerate(names)}
    return {name: each[name] / 2.0 for i, name in enumerate(names) if (by == i).any()}
