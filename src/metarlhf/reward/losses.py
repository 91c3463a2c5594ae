"""How well predicted rewards explain what a person said."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.reward.guesses import of_rows
from metarlhf.types import Feedback, Segment

LAPSE = 0.02
"""Share of answers that are taken to be anyone's guess."""
FAR = 50.0
"""As good as infinite for a sigmoid, and finite for its gradient."""


def answer_log_likelihood(
    logit: Float[Array, "*batch"],
    preference: Float[Array, "*#batch"],
    lapse: float | Float[Array, "*#batch"] = 0.0,
) -> Float[Array, "*batch"]:
    """Log-probability of an answer under Bradley-Terry (Christiano et al. 2017, equation 1).

    `logit` is the right clip's predicted sum minus the left one's. With probability `lapse` an
    answer is taken to be a coin's. "Equal" (0.5) is half of each answer.
    """
    if isinstance(lapse, float) and lapse == 0.0:
        right, left = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    else:
        chance = jax.nn.sigmoid(logit)
        right = jnp.log((1.0 - lapse) * chance + 0.5 * lapse)
        left = jnp.log((1.0 - lapse) * (1.0 - chance) + 0.5 * lapse)
    return preference * right + (1.0 - preference) * left


def rating_log_likelihood(
    predicted: Float[Array, "*#batch"],
    mark: Float[Array, "*#batch"],
    log_std: Float[Array, "*#batch"],
    levels: int | Float[Array, "*#batch"],
) -> Float[Array, "*batch"]:
    """Log-probability of a mark: an ordered logit (McCullagh 1980).

    `predicted` is where a clip stands on the scale, from 0 to 1; the mark is the level, of `levels`
    equal ones, that it is seen in, give or take a logistic error of scale exp(log_std). The lowest
    and the highest level have no end: to be further out is no error. One mark in fifty is anything.
    """
    scale = jnp.exp(-log_std)
    upper = jnp.where(mark >= levels, FAR, (mark / levels - predicted) * scale)
    lower = jnp.where(mark <= 1, -FAR, ((mark - 1) / levels - predicted) * scale)
    # log(sigmoid(a) - sigmoid(b)), without the difference that would lose all digits.
    width = jnp.where((mark >= levels) | (mark <= 1), FAR, scale / levels)
    within = jax.nn.log_sigmoid(upper) + jax.nn.log_sigmoid(-lower) + jnp.log(-jnp.expm1(-width))
    return jnp.logaddexp(jnp.log1p(-LAPSE) + within, jnp.log(LAPSE / levels))


def log_likelihoods(
    clip_sums: Callable[[Segment], Float[Array, "*member clip"]],
    feedback: Feedback,
    sharpness: Float[Array, "*#member"],
    rating_log_std: Float[Array, "*#member"],
    lapse: float | Float[Array, "*#member annotator"] = 0.0,
) -> tuple[Float[Array, "*member comparison"], Float[Array, "*member rating"]]:
    """Log-probability of each comparison and of each mark, given what every clip's rewards sum to.

    `lapse` is everybody's, or each annotator's own (`metarlhf.reward.guesses`). Rows that hold no
    answer have one, too: what counts is in their weights.
    """
    comparisons, ratings = feedback.comparisons, feedback.ratings
    if isinstance(lapse, jax.Array):
        lapse = of_rows(lapse, comparisons.annotator)
    difference = clip_sums(comparisons.right) - clip_sums(comparisons.left)
    chosen = answer_log_likelihood(sharpness * difference, comparisons.preference, lapse)
    predicted = clip_sums(ratings.segment) / ratings.segment.obs.shape[-2]
    marked = rating_log_likelihood(predicted, ratings.value, rating_log_std, ratings.levels)
    return chosen, marked


def weighted_mean(
    values: Float[Array, "*batch"], weight: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """Mean over the answers that were given; zero where there are none."""
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)
