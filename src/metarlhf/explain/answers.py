"""What a model believed about each question, before it was taught and after."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metarlhf.reward import Belief, Learned
from metarlhf.reward.calibration import predicted_preferences
from metarlhf.reward.losses import rating_log_likelihood
from metarlhf.types import Rating


class Answered(NamedTuple):
    """A question, what was said, and what was expected."""

    number: int
    """From 1, in the order of the answers."""
    clips: tuple[np.ndarray, ...]
    """Observations [length, obs] of the left and the right clip, or of the one to be marked."""
    said: float
    """How far the right clip was preferred, 0, 0.5 or 1; or the mark."""
    before: float
    """The same as expected before the first answer: a probability, or a mean mark."""
    after: float
    """As expected after the last answer."""
    levels: int | None = None
    """How many marks there are; None for a comparison."""

    @property
    def surprise(self) -> float:
        """How far what was expected at first is from what was said, from 0 to 1."""
        return abs(self.said - self.before) / ((self.levels or 2) - 1)

    @property
    def moved(self) -> float:
        """How much closer to what was said the belief has come, in the same measure."""
        return self.surprise - abs(self.said - self.after) / ((self.levels or 2) - 1)


_preferences = jax.jit(predicted_preferences)


@partial(jax.jit, static_argnames="most")
def expected_mark(belief: Belief, ratings: Rating, most: int) -> Float[Array, " rating"]:
    """Mean of the marks that members expect, each with its probability; none is above `most`."""
    predicted = belief.clip_sums(ratings.segment) / ratings.segment.obs.shape[-2]
    log_std = jnp.reshape(belief.rating_log_std, (-1, 1))
    marks = jnp.arange(1.0, most + 1.0)[:, None, None]
    given = jnp.exp(rating_log_likelihood(predicted, marks, log_std, ratings.levels))
    given = jnp.where(marks <= ratings.levels, given, 0.0)
    return belief.weight @ (jnp.sum(given * marks, 0) / jnp.maximum(given.sum(0), 1e-12))


def answered(learned: Learned) -> list[Answered]:
    """Every question that was answered: comparisons, then marks."""
    comparisons, ratings = learned.feedback.comparisons, learned.feedback.ratings
    found: list[Answered] = []
    beliefs = (learned.before, learned.after)
    if comparisons.weight.shape[0]:
        before, after = (np.asarray(_preferences(b, comparisons)) for b in beliefs)
        for i in np.flatnonzero(np.asarray(comparisons.weight) > 0):
            clips = (np.asarray(comparisons.left.obs[i]), np.asarray(comparisons.right.obs[i]))
            expected = float(before[i]), float(after[i])
            said = float(comparisons.preference[i])
            found.append(Answered(len(found) + 1, clips, said, *expected))
    if ratings.weight.shape[0]:
        most = int(ratings.levels.max())
        before, after = (np.asarray(expected_mark(b, ratings, most)) for b in beliefs)
        for i in np.flatnonzero(np.asarray(ratings.weight) > 0):
            clips, levels = (np.asarray(ratings.segment.obs[i]),), int(ratings.levels[i])
            expected, said = (float(before[i]), float(after[i])), float(ratings.value[i])
            found.append(Answered(len(found) + 1, clips, said, *expected, levels))
    return found
