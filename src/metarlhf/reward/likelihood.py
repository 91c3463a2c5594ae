"""How well predicted rewards explain what a person said.

How many of each person's answers are guesses: what is expected of it, and what answers say.

Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm", for two answers and a model of what the right one is: every annotator guesses a share of
their comparisons, half of which come out wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc
from jaxtyping import Array, Float, Integer

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

    `lapse` is everybody's, or each annotator's own (`reward.likelihood`). Rows that hold no
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


ANNOTATORS = 8
"""So many people, by number, have a share of their own; all from the last one on have one."""
EDGES = (0.0, 0.01, 0.03, 0.06, 0.1, 0.16, 0.24, 0.34, 0.46, 0.6, 0.78, 1.0)
"""Where shares of guesses are told apart, closer where few are wrong."""


@dataclass(frozen=True)
class Guesses:
    """What is expected, before any answer, of the share of comparisons that a person guesses."""

    expected: float = 0.1
    """Its mean: a beta distribution."""
    answers: float | None = 2.0
    """How many answers that is worth. None: it is known, and no answer says anything of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.expected < 1:
            raise ValueError(f"expected must be from 0 to below 1, but is {self.expected}")
        if self.answers is not None and not self.answers > 0:
            raise ValueError(f"answers must be above 0, but is {self.answers}")
        if self.answers is not None and not self.expected:
            raise ValueError("expected is 0, of which nothing can be learned: let answers be None")

    def shares(self) -> tuple[Float[np.ndarray, " share"], Float[np.ndarray, " share"]]:
        """Shares that are held possible, and the probability of each; the sum over them is the
        integral over the beta distribution, a cell of `EDGES` at a time.
        """
        if self.answers is None:
            return np.array([self.expected]), np.ones(1)
        edges = np.array(EDGES)
        a, b = self.expected * self.answers, (1.0 - self.expected) * self.answers
        with jax.ensure_compile_time_eval():  # settings, also where answers are being traced
            below = np.asarray(betainc(a, b, jnp.asarray(edges, jnp.float32)))
        return (edges[1:] + edges[:-1]) / 2.0, np.diff(below)


def by_annotator(
    values: Float[Array, "*batch comparison"], annotator: Integer[Array, " comparison"]
) -> Float[Array, "*batch annotator"]:
    """Sums over the comparisons that each person answered."""
    theirs = jnp.minimum(annotator, ANNOTATORS - 1)[:, None] == jnp.arange(ANNOTATORS)
    return values @ theirs.astype(values.dtype)


def of_rows(
    share: Float[Array, "*member annotator"], annotator: Integer[Array, " comparison"]
) -> Float[Array, "*member comparison"]:
    """What each person guesses, for each of the comparisons."""
    return share[..., jnp.minimum(annotator, ANNOTATORS - 1)]


def evidence(
    log_likelihood: Float[Array, "share *member annotator"], mass: Float[np.ndarray, " share"]
) -> Float[Array, "*member annotator"]:
    """Log-probability of what each person said, whichever share they guess."""
    weight = mass.reshape(-1, *[1] * (log_likelihood.ndim - 1))
    return jax.nn.logsumexp(log_likelihood, axis=0, b=weight)
