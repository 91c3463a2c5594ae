"""What a model believed about each question, before it was taught and after.

How far answers and predictions may be trusted: what each is to the others; calibration.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.feedback import Teacher
from metarlhf.feedback.clips import compared
from metarlhf.feedback.teachers import Scale
from metarlhf.reward import Belief, Ensemble, Learned
from metarlhf.reward.calibration import (
    Influence,
    Reliability,
    influence,
    predicted_preferences,
    reliability,
)
from metarlhf.reward.likelihood import of_rows, rating_log_likelihood
from metarlhf.types import Comparison, Feedback, Rating, Segment

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


# Fits without some answers: each by itself up to so many, beyond that in folds. An ensemble is
# fitted step by step, which takes a hundred times as long as a posterior does.
ONE_BY_ONE, FOLDS = {"ensemble": 20, "other": 128}, {"ensemble": 5, "other": 32}
# Clips by which rewards are compared that differ by an answer, and fresh questions.
JUDGED, QUESTIONS, BINS = 256, 1000, 10


class Calibration(NamedTuple):
    """How sure predicted preferences are, and how often they come true."""

    of: Literal["fresh questions", "answers left out"]
    """Questions that nobody was asked, answered by the true reward; or the answers themselves, each
    predicted by a fit to others, with as many guesses as its giver is believed to make."""
    questions: int
    diagrams: dict[str, Reliability]
    """"before" and "after", or "after" alone where answers are left out."""


_influence = jax.jit(influence, static_argnames="folds")


def left_out(key: PRNGKeyArray, learned: Learned) -> tuple[Influence | None, bool]:
    """What each comparison is to the others, and whether each was left out by itself.

    None where there are fewer than three: without one there is little left.
    """
    said = learned.feedback.comparisons
    count = int(np.sum(np.asarray(said.weight) > 0))
    if count < 3:
        return None, False
    kind = "ensemble" if isinstance(learned.before, Ensemble) else "other"
    folds = count if count <= ONE_BY_ONE[kind] else FOLDS[kind]
    clips = learned.seen if learned.seen.obs.shape[0] > 2 else said.left
    chosen = np.linspace(0, len(clips.obs) - 1, min(JUDGED, len(clips.obs))).astype(int)
    judged = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[chosen]), clips)
    found = _influence(key, learned.before, learned.feedback, judged, folds=folds)
    return jax.device_get(found), folds == count


def calibration(
    key: PRNGKeyArray, learned: Learned, found: Influence | None, true: bool
) -> Calibration | None:
    """By fresh questions where the true reward answers them (`true`), or by answers left out."""
    seen = learned.seen
    if true and seen.obs.shape[0] > 2:
        pair_key, say_key = jax.random.split(key)
        pairs = _pairs(pair_key, len(seen.obs))
        diagrams = {
            name: jax.device_get(_of_fresh(say_key, belief, seen, pairs, learned.feedback))
            for name, belief in (("before", learned.before), ("after", learned.after))
        }
        return Calibration("fresh questions", round(diagrams["after"].weight.sum()), diagrams)
    if found is None:
        return None
    said = learned.feedback.comparisons
    guessed = of_rows(learned.after.share_of_guesses(learned.feedback), said.annotator)
    predicted = (1.0 - guessed) * jnp.asarray(found.predicted) + 0.5 * guessed
    diagram = jax.device_get(reliability(predicted, said.preference, said.weight, BINS))
    return Calibration("answers left out", int(np.sum(said.weight > 0)), {"after": diagram})


def _pairs(key: PRNGKeyArray, count: int) -> Integer[Array, "2 pair"]:
    """Pairs of different ones of so many clips, none twice; either may come first."""
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    pairs = np.stack(np.triu_indices(count, 1))
    pairs = pairs[:, draw.permutation(pairs.shape[1])[:QUESTIONS]]
    return jnp.asarray(np.where(draw.random(pairs.shape[1]) < 0.5, pairs, pairs[::-1]))


@jax.jit
def _of_fresh(
    key: PRNGKeyArray,
    belief: Belief,
    clips: Segment,
    pairs: Integer[Array, "2 pair"],
    feedback: Feedback,
) -> Reliability:
    """Of pairs of clips, which a teacher who never errs compares; what was asked does not count."""
    one, other = clips[pairs[0]], clips[pairs[1]]
    said, weight = Teacher().compare(
        key, one.task_reward, other.task_reward, Scale.of(clips.task_reward)
    )
    weight *= ~compared(one, other, feedback.comparisons)
    predicted = predicted_preferences(belief, Comparison(one, other, said, weight))
    return reliability(predicted, said, weight, BINS)
