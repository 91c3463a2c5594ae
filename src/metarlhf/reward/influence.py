"""Which answers moved a reward most, and which contradict the others: each is left out in turn."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.reward.belief import Belief
from metarlhf.reward.losses import LAPSE, answer_log_likelihood
from metarlhf.types import Comparison, Feedback, Segment


class Influence(NamedTuple):
    """What each comparison did; rows without an answer moved nothing and contradict nothing.

    `moved` is how far the reward went because of the answer: one minus the correlation of predicted
    sums of clips with it and without it. `log_likelihood` is that of the answer, in nats, given the
    others: the lower, the more they contradict it.
    """

    moved: Float[Array, " comparison"]
    log_likelihood: Float[Array, " comparison"]

    def suspects(self, count: int) -> Integer[Array, " suspect"]:
        """Rows of the answers that the others contradict most, the worst first."""
        return jnp.argsort(self.log_likelihood)[:count]


def influence(key: PRNGKeyArray, start: Belief, feedback: Feedback, judged: Segment) -> Influence:
    """Fit `start` to all comparisons but one, for each of them, and to all.

    Koh and Liang 2017 approximate this for large models; a few answers can be left out in truth.
    `start` is what was believed before the first answer: a prior, or an ensemble as it began. Marks
    in `feedback` are taken in, too, and never left out. `judged` are the clips by whose predicted
    sums rewards are compared. Pure; every fit takes the same key, so that they differ by the answer
    alone.
    """
    comparisons = feedback.comparisons
    # Where there is no answer to leave out, the fit is to all.
    whole = _sums(start.adapt(key, feedback), judged)

    def without(row: Integer[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        rest = Feedback(_left_out(comparisons, row), feedback.ratings)
        belief = start.adapt(key, rest)
        moved = 1.0 - jnp.corrcoef(_sums(belief, judged), whole)[0, 1]
        return moved, _log_likelihood(belief, jax.tree.map(lambda x: x[row], comparisons))

    moved, log_likelihood = jax.vmap(without)(jnp.arange(comparisons.weight.shape[0]))
    given = comparisons.weight > 0
    return Influence(jnp.where(given, moved, 0.0), jnp.where(given, log_likelihood, 0.0))


def _left_out(comparisons: Comparison, row: Integer[Array, ""]) -> Comparison:
    """Without one row, which goes to the end with weight 0: answers stand in the first rows."""
    count = comparisons.weight.shape[0]
    order = jnp.arange(count)
    order = jnp.where(order < row, order, jnp.where(order < count - 1, order + 1, row))
    moved = jax.tree.map(lambda x: x[order], comparisons)
    return eqx.tree_at(lambda c: c.weight, moved, moved.weight.at[-1].set(0.0))


def _sums(belief: Belief, clips: Segment) -> Float[Array, " clip"]:
    return belief(clips.obs, clips.action).sum(-1)


def _log_likelihood(belief: Belief, one: Comparison) -> Float[Array, ""]:
    """Of one answer, whichever member is right."""
    alone = jax.tree.map(lambda x: x[None], one)
    difference = belief.clip_sums(alone.right) - belief.clip_sums(alone.left)
    each = answer_log_likelihood(belief.sharpness * difference, alone.preference, LAPSE)
    return jax.nn.logsumexp(each[:, 0], b=belief.weight)
