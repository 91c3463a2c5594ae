"""What keeps a policy from seeking out where a learned reward is wrong.

A policy that is trained long enough finds the steps that are paid too much. Those are steps that
the members of a belief disagree about, or that are paid as nothing was that a person judged
(Coste et al. 2023, "Reward model ensembles help mitigate overoptimization").
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from metarlhf.reward.belief import Belief
from metarlhf.types import Feedback, Segment


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
