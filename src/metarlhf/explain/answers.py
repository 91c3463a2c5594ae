"""What a model believed about each question, before it was taught and after."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metarlhf.reward import Belief, Learned
from metarlhf.reward.calibration import predicted_preferences
from metarlhf.reward.influence import Influence
from metarlhf.reward.losses import rating_log_likelihood
from metarlhf.types import Rating

FITS_NOT = 0.75
"""An answer that a fit to others gives a quarter at most does not fit them."""


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
    others: float | None = None
    """As a fit to other answers, without this one, expects it; None where there is no such fit."""
    influence: float | None = None
    """How far the reward went because of this answer alone: one minus a correlation."""
    by: str | None = None
    """Who said it, where people have names."""

    @property
    def surprise(self) -> float:
        """How far what was expected at first is from what was said, from 0 to 1."""
        return abs(self.said - self.before) / ((self.levels or 2) - 1)

    @property
    def moved(self) -> float:
        """How much closer to what was said the belief has come, in the same measure."""
        return self.surprise - abs(self.said - self.after) / ((self.levels or 2) - 1)

    @property
    def misfit(self) -> bool:
        """Whether a fit to the other answers expects another than this one.

        Who is wrong is not said: the answer, or the model, to which the others have not yet told
        enough.
        """
        return self.others is not None and abs(self.said - self.others) > FITS_NOT


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


def answered(
    learned: Learned, others: Influence | None = None, alone: bool = False
) -> list[Answered]:
    """Every question that was answered: comparisons, then marks.

    `others` is what comparisons are to one another, `alone` whether each was left out by itself.
    """
    # What is computed with, and the same to be read row by row: by JAX each row is a program.
    asked, marked = learned.feedback.comparisons, learned.feedback.ratings
    comparisons, ratings = jax.device_get((asked, marked))
    found: list[Answered] = []
    beliefs = (learned.before, learned.after)
    if comparisons.weight.shape[0]:
        before, after = (np.asarray(_preferences(b, asked)) for b in beliefs)
        for i in np.flatnonzero(comparisons.weight > 0):
            clips = (comparisons.left.obs[i], comparisons.right.obs[i])
            expected = float(before[i]), float(after[i])
            said, who = float(comparisons.preference[i]), int(comparisons.annotator[i])
            found.append(
                Answered(
                    len(found) + 1, clips, said, *expected,
                    others=None if others is None else float(others.predicted[i]),
                    influence=float(others.moved[i]) if others is not None and alone else None,
                    by=learned.annotators[who] if who < len(learned.annotators) else None,
                )
            )  # fmt: skip
    if ratings.weight.shape[0]:
        most = int(ratings.levels.max())
        before, after = (np.asarray(expected_mark(b, marked, most)) for b in beliefs)
        for i in np.flatnonzero(ratings.weight > 0):
            clips, levels = (ratings.segment.obs[i],), int(ratings.levels[i])
            expected, said = (float(before[i]), float(after[i])), float(ratings.value[i])
            found.append(Answered(len(found) + 1, clips, said, *expected, levels))
    return found
