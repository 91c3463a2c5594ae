"""Paying a policy by what is believed about a reward."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from metarlhf.reward.belief import Belief
from metarlhf.reward.guarded import by_member, disagreement, extremes, judged
from metarlhf.types import Feedback, Segment, Trajectory


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
