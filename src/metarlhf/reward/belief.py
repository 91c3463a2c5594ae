"""What is believed about a reward, whichever way it is learned.

A belief is a weighted set of reward functions, its *members*: the networks of an ensemble, or the
particles of a posterior. Questions are chosen by what the members disagree about; the policy is
trained on their mean.

What keeps a policy from seeking out where a learned reward is wrong.

A policy that is trained long enough finds the steps that are paid too much. Those are steps that
the members of a belief disagree about, or that are paid as nothing was that a person judged
(Coste et al. 2023, "Reward model ensembles help mitigate overoptimization").

Paying a policy by what is believed about a reward.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
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
    without a number of their own (`reward.likelihood.ANNOTATORS`) have that of all of them.
    """
    share = np.asarray(belief.share_of_guesses(feedback))
    by = np.asarray(feedback.comparisons.annotator)[np.asarray(feedback.comparisons.weight) > 0]
    if not share.any():
        return {}
    each = {name: float(share[min(i, len(share) - 1)]) for i, name in enumerate(names)}
    return {name: each[name] / 2.0 for i, name in enumerate(names) if (by == i).any()}


def by_member(
    belief: Belief, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
) -> Float[Array, "member *batch"]:
    """What each member pays for steps: clips of one step are all that a belief need know."""
    batch = obs.shape[:-1]
    steps = action.reshape(-1, 1, *action.shape[len(batch) :])
    alone = Segment(obs.reshape(-1, 1, obs.shape[-1]), steps, jnp.zeros((steps.shape[0], 1)))
    return belief.clip_sums(alone).reshape(-1, *batch)


def disagreement(
    belief: Belief,
    usual: Float[Array, " member"],
    obs: Float[Array, "*batch obs"],
    action: Shaped[Array, "..."],
) -> Float[Array, "*batch"]:
    """Standard deviation over members of what they pay beyond what each of them usually does.

    Comparisons of clips of one length say nothing about a member's offset, so members do not
    disagree by having different ones.
    """
    beyond = jnp.moveaxis(by_member(belief, obs, action), 0, -1) - usual
    mean = beyond @ belief.weight
    return jnp.sqrt((beyond - mean[..., None]) ** 2 @ belief.weight)


def judged(feedback: Feedback) -> tuple[Segment, Float[Array, " clip"]]:
    """All clips that there is room for an answer about, and 0 for those that have none."""
    two, one = feedback.comparisons, feedback.ratings
    parts = ((two.left, two.weight), (two.right, two.weight), (one.segment, one.weight))
    join = lambda name: jnp.concatenate([getattr(clips, name) for clips, _ in parts])
    clips = Segment(join("obs"), join("action"), join("task_reward"))
    return clips, jnp.concatenate([weight for _, weight in parts])


def extremes(
    paid: Float[Array, "clip step"], weight: Float[Array, " clip"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The least and the most that a judged step is paid; no bounds before the first answer."""
    # Finite, as a state that is not is taken for a broken one.
    counts, none, far = weight[:, None] > 0, ~jnp.any(weight > 0), jnp.finfo(paid.dtype).max
    low = jnp.min(paid, where=counts, initial=far)
    high = jnp.max(paid, where=counts, initial=-far)
    return jnp.where(none, -far, low), jnp.where(none, far, high)


class LearnedReward(eqx.Module):
    """Pays trajectories with a belief's mean reward, standardised on `reference` clips.

    A reward learned from comparisons is known up to scale and offset only. Where episodes may end
    early (`may_end`), the offset decides whether an agent ends them. What comes after an end pays
    nothing, so no step of the clips is paid less than that.

    Before it is standardised, the mean is lowered by `pessimism` times the standard deviation of
    the members, and kept within what the judged steps of `clip_to`, if given, are paid.
    """

    belief: Belief
    offset: Float[Array, ""]
    std: Float[Array, ""]
    usual: Float[Array, " member"] | None
    """What each member pays on average; None without pessimism."""
    bounds: tuple[Float[Array, ""], Float[Array, ""]] | None
    """Before standardisation; None where nothing is clipped."""
    pessimism: float = eqx.field(static=True)

    def __init__(
        self,
        belief: Belief,
        reference: Segment,
        may_end: bool = False,
        pessimism: float = 0.0,
        clip_to: Feedback | None = None,
    ):
        if pessimism and belief.weight.shape[0] < 2:
            raise ValueError(
                f"pessimism is {pessimism}, but one reward network alone disagrees with nobody: "
                "have at least two members, or leave pessimism 0"
            )
        self.belief, self.pessimism = belief, pessimism
        self.usual = self.bounds = None
        if pessimism:
            each = by_member(belief, reference.obs, reference.action)
            self.usual = each.mean(axis=range(1, each.ndim))
        if clip_to is not None:
            clips, weight = judged(clip_to)
            self.bounds = extremes(self._believed(clips.obs, clips.action), weight)
        seen = self._believed(reference.obs, reference.action)
        self.offset = jnp.min(seen) if may_end else jnp.mean(seen)
        self.std = jnp.std(seen) + 1e-6

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """The same trajectory with the learned reward; what the task paid stays on record."""
        return trajectory.with_reward(self.of(trajectory.obs, trajectory.action))

    def of(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """What steps are paid."""
        return (self._believed(obs, action) - self.offset) / self.std

    def _believed(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        paid = self.belief(obs, action)
        if self.usual is not None:
            paid -= self.pessimism * disagreement(self.belief, self.usual, obs, action)
        return paid if self.bounds is None else jnp.clip(paid, *self.bounds)
