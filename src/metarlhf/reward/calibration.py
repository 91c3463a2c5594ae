"""Whether predicted preferences come true as often as they say.

Which answers moved a reward most, and which contradict the others: some are left out in turn.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf.reward.belief import Belief
from metarlhf.reward.likelihood import LAPSE, answer_log_likelihood
from metarlhf.types import Comparison, Feedback, Segment


class Reliability(NamedTuple):
    """A reliability diagram: predictions sorted by how sure they are, into bins of equal width.

    `confidence` is their mean in each bin and `right` how often they came true, both 0 where a bin
    is empty; `weight` is how many predictions it holds.
    """

    confidence: Float[Array, " bin"]
    right: Float[Array, " bin"]
    weight: Float[Array, " bin"]

    @property
    def accuracy(self) -> Float[Array, ""]:
        """Share of the predictions that came true."""
        return jnp.sum(self.weight * self.right) / jnp.maximum(jnp.sum(self.weight), 1.0)

    @property
    def mean_confidence(self) -> Float[Array, ""]:
        """Share that was believed to."""
        return jnp.sum(self.weight * self.confidence) / jnp.maximum(jnp.sum(self.weight), 1.0)

    @property
    def expected_error(self) -> Float[Array, ""]:
        """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, equation 3)."""
        gap = jnp.abs(self.confidence - self.right)
        return jnp.sum(self.weight * gap) / jnp.maximum(jnp.sum(self.weight), 1.0)


def predicted_preferences(belief: Belief, comparisons: Comparison) -> Float[Array, " comparison"]:
    """Probability that the second clip is called better, averaged over the members."""
    difference = belief.clip_sums(comparisons.right) - belief.clip_sums(comparisons.left)
    return belief.weight @ jax.nn.sigmoid(belief.sharpness * difference)


def reliability(
    predicted: Float[Array, " comparison"],
    preference: Float[Array, " comparison"],
    weight: Float[Array, " comparison"],
    bins: int = 10,
) -> Reliability:
    """How sure predictions were, and how often they came true.

    A prediction is as sure as its likelier answer, from 0.5 to 1; which clip was first says
    nothing. `preference` is 1 where the second clip was preferred, 0.5 where neither (then half of
    the prediction came true); a `weight` of 0 leaves a row out.

    Raises:
        ValueError: there is no bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, but is {bins}")
    second = predicted >= 0.5
    sure = jnp.where(second, predicted, 1.0 - predicted)
    true = jnp.where(second, preference, 1.0 - preference)
    number = jnp.clip(jnp.floor((sure - 0.5) * 2.0 * bins).astype(int), 0, bins - 1)
    count = jnp.zeros(bins).at[number].add(weight)
    mean = lambda x: jnp.zeros(bins).at[number].add(x * weight) / jnp.maximum(count, 1e-9)
    return Reliability(mean(sure), mean(true), count)


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
