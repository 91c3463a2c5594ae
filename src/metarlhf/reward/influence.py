"""Which answers moved a reward most, and which contradict the others: some are left out in turn."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf.reward.belief import Belief
from metarlhf.reward.calibration import predicted_preferences
from metarlhf.reward.losses import LAPSE, answer_log_likelihood
from metarlhf.types import Comparison, Feedback, Segment


class Influence(NamedTuple):
    """What each comparison did; rows without an answer moved nothing and contradict nothing.

    `moved` is how far the reward went because of the answer, and of what was left out with it: one
    minus the correlation of predicted sums of clips with them and without. `log_likelihood` is that
    of the answer, in nats, given the others: the lower, the more they contradict it. `predicted` is
    how likely those held it that the second clip is the better one.
    """

    moved: Float[Array, " comparison"]
    log_likelihood: Float[Array, " comparison"]
    predicted: Float[Array, " comparison"]

    def suspects(self, count: int) -> Integer[Array, " suspect"]:
        """Rows of the answers that the others contradict most, the worst first."""
        return jnp.argsort(self.log_likelihood)[:count]


def influence(
    key: PRNGKeyArray,
    start: Belief,
    feedback: Feedback,
    judged: Segment,
    folds: int | None = None,
) -> Influence:
    """Fit `start` to all comparisons but one, for each of them, and to all.

    Koh and Liang 2017 approximate this for large models; a few answers can be left out in truth.
    Many are left out in so many `folds`, as cross-validation does.
    `start` is what was believed before the first answer: a prior, or an ensemble as it began. Marks
    in `feedback` are taken in, too, and never left out. `judged` are the clips by whose predicted
    sums rewards are compared. Pure; every fit takes the same key, so that they differ by the
    answers alone.

    Raises:
        ValueError: there is no fold.
    """
    comparisons = feedback.comparisons
    count = comparisons.weight.shape[0]
    folds = count if folds is None else folds
    if folds < 1:
        raise ValueError(f"folds must be 1 or more, but is {folds}: is there no comparison?")
    own = jnp.arange(count) % folds
    # Where there is no answer to leave out, the fit is to all.
    whole = _sums(start.adapt(key, feedback), judged)

    def without(fold: Integer[Array, ""]) -> Influence:
        rest = Feedback(_left_out(comparisons, own == fold), feedback.ratings)
        belief = start.adapt(key, rest)
        moved = 1.0 - jnp.corrcoef(_sums(belief, judged), whole)[0, 1]
        likelihood = _log_likelihood(belief, comparisons)
        predicted = predicted_preferences(belief, comparisons)
        return Influence(jnp.full(count, moved), likelihood, predicted)

    each = jax.vmap(without)(jnp.arange(folds))
    found = jax.tree.map(lambda x: x[own, jnp.arange(count)], each)
    given = comparisons.weight > 0
    return Influence(
        jnp.where(given, found.moved, 0.0),
        jnp.where(given, found.log_likelihood, 0.0),
        jnp.where(given, found.predicted, 0.5),
    )


def _left_out(comparisons: Comparison, out: Bool[Array, " comparison"]) -> Comparison:
    """Without some rows, which go to the end with weight 0: answers stand in the first rows."""
    order = jnp.argsort(out, stable=True)
    kept = eqx.tree_at(lambda c: c.weight, comparisons, jnp.where(out, 0.0, comparisons.weight))
    return jax.tree.map(lambda x: x[order], kept)


def _sums(belief: Belief, clips: Segment) -> Float[Array, " clip"]:
    return belief(clips.obs, clips.action).sum(-1)


def _log_likelihood(belief: Belief, said: Comparison) -> Float[Array, " comparison"]:
    """Of each answer, whichever member is right."""
    difference = belief.clip_sums(said.right) - belief.clip_sums(said.left)
    each = answer_log_likelihood(belief.sharpness * difference, said.preference, LAPSE)
    return jax.nn.logsumexp(each, axis=0, b=belief.weight[:, None])
