"""Answers that a reward was learned from: predictions of each, influence and calibration."""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.explain.steps import evenly_spaced
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

MISFIT = 0.75
"""An answer misfits if the prediction without it is off by more: it had a quarter at most."""
# Fits without some answers: each by itself up to so many, beyond that in folds. An ensemble is
# fitted step by step, which takes a hundred times as long as a posterior does.
ONE_BY_ONE, FOLDS = {"ensemble": 20, "other": 128}, {"ensemble": 5, "other": 32}
# Clips by which rewards are compared that differ by an answer, fresh queries, bins of a diagram.
INFLUENCE_CLIPS, FRESH_QUERIES, BINS = 256, 1000, 10


class ExplainedAnswer(NamedTuple):
    """A query, its answer, and predictions of the answer."""

    number: int
    """From 1, in the order of the answers."""
    clips: tuple[np.ndarray, ...]
    """Observations [length, obs] of the left and the right clip, or of the rated one."""
    answer: float
    """The preference for the right clip, 0, 0.5 or 1; or the rating."""
    before: float
    """Predicted before the first answer: a probability, or a mean rating."""
    after: float
    """Predicted after the last answer."""
    levels: int | None = None
    """Number of ratings to choose from; None for a comparison."""
    left_out: float | None = None
    """Predicted by a fit to other answers, without this one; None where there is no such fit."""
    influence: float | None = None
    """One minus the correlation of rewards with and without this answer alone."""
    annotator: str | None = None
    """Who answered, where people have names."""

    @property
    def error_before(self) -> float:
        """Distance of the first prediction from the answer, from 0 to 1."""
        return abs(self.answer - self.before) / ((self.levels or 2) - 1)

    @property
    def improvement(self) -> float:
        """How much smaller the error is after the last answer."""
        return self.error_before - abs(self.answer - self.after) / ((self.levels or 2) - 1)

    @property
    def misfit(self) -> bool:
        """Whether a fit without this answer contradicts it.

        Either may be wrong: the answer, or a model that has learned too little from the others.
        """
        return self.left_out is not None and abs(self.answer - self.left_out) > MISFIT


_preferences = jax.jit(predicted_preferences)


@partial(jax.jit, static_argnames="most")
def expected_rating(belief: Belief, ratings: Rating, most: int) -> Float[Array, " rating"]:
    """The mean predicted rating, from 1 to `most`, averaged over the belief's members."""
    predicted = belief.clip_sums(ratings.segment) / ratings.segment.obs.shape[-2]
    log_std = jnp.reshape(belief.rating_log_std, (-1, 1))
    values = jnp.arange(1.0, most + 1.0)[:, None, None]
    given = jnp.exp(rating_log_likelihood(predicted, values, log_std, ratings.levels))
    given = jnp.where(values <= ratings.levels, given, 0.0)
    return belief.weight @ (jnp.sum(given * values, 0) / jnp.maximum(given.sum(0), 1e-12))


def explain_answers(
    learned: Learned, left_out: Influence | None = None, alone: bool = False
) -> list[ExplainedAnswer]:
    """Every query that was answered: comparisons, then ratings.

    Args:
        learned: answers, and the beliefs before and after them.
        left_out: predictions and influence of each comparison, see `leave_one_out`.
        alone: whether each was left out by itself, so that its influence is its own.
    """
    feedback, names = learned.feedback, learned.annotators
    # What is computed with, and the same to be read row by row: by JAX each row is a program.
    comparisons, ratings = jax.device_get((feedback.comparisons, feedback.ratings))
    answers: list[ExplainedAnswer] = []
    beliefs = (learned.before, learned.after)
    if comparisons.weight.shape[0]:
        before, after = (np.asarray(_preferences(b, feedback.comparisons)) for b in beliefs)
        for i in np.flatnonzero(comparisons.weight > 0):
            clips, who = (
                (comparisons.left.obs[i], comparisons.right.obs[i]),
                comparisons.annotator[i],
            )
            answers.append(
                ExplainedAnswer(
                    len(answers) + 1, clips, float(comparisons.preference[i]),
                    float(before[i]), float(after[i]),
                    left_out=None if left_out is None else float(left_out.predicted[i]),
                    influence=float(left_out.moved[i]) if left_out is not None and alone else None,
                    annotator=names[who] if who < len(names) else None,
                )
            )  # fmt: skip
    if ratings.weight.shape[0]:
        most = int(ratings.levels.max())
        before, after = (np.asarray(expected_rating(b, feedback.ratings, most)) for b in beliefs)
        answers += [
            ExplainedAnswer(
                len(answers) + 1 + n, (ratings.segment.obs[i],), float(ratings.value[i]),
                float(before[i]), float(after[i]), int(ratings.levels[i]),
            )
            for n, i in enumerate(np.flatnonzero(ratings.weight > 0))
        ]  # fmt: skip
    return answers


class Calibration(NamedTuple):
    """Reliability diagrams of predicted preferences."""

    of: Literal["fresh questions", "answers left out"]
    """Queries that nobody was asked, answered by the true reward; or the answers themselves, each
    predicted by a fit without it, allowing for as many guesses as its annotator is estimated to
    make."""
    questions: int
    diagrams: dict[str, Reliability]
    """"before" and "after", or "after" alone where answers are left out."""


_influence = jax.jit(influence, static_argnames="folds")


def leave_one_out(key: PRNGKeyArray, learned: Learned) -> tuple[Influence | None, bool]:
    """Predictions of each comparison by a fit without it, and its influence on the reward.

    Returns:
        None where there are fewer than three comparisons; and whether each was left out by itself,
        or several in a fold.
    """
    comparisons = learned.feedback.comparisons
    count = int(np.sum(np.asarray(comparisons.weight) > 0))
    if count < 3:
        return None, False
    kind = "ensemble" if isinstance(learned.before, Ensemble) else "other"
    folds = count if count <= ONE_BY_ONE[kind] else FOLDS[kind]
    clips = learned.seen if learned.seen.obs.shape[0] > 2 else comparisons.left
    chosen = evenly_spaced(len(clips.obs), INFLUENCE_CLIPS)
    clips = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[chosen]), clips)
    influences = _influence(key, learned.before, learned.feedback, clips, folds=folds)
    return jax.device_get(influences), folds == count


def calibration(
    key: PRNGKeyArray, learned: Learned, left_out: Influence | None, true: bool
) -> Calibration | None:
    """Reliability by fresh queries where the true reward answers them, or by answers left out.

    Args:
        key: of the fresh queries.
        learned: beliefs before and after the answers, the answers, and clips.
        left_out: predictions of each answer by a fit without it.
        true: whether the true reward is what was to be learned.
    """
    clips = learned.seen
    if true and clips.obs.shape[0] > 2:
        pair_key, answer_key = jax.random.split(key)
        pairs = _pairs(pair_key, len(clips.obs))
        diagrams = {
            name: jax.device_get(_of_fresh(answer_key, belief, clips, pairs, learned.feedback))
            for name, belief in (("before", learned.before), ("after", learned.after))
        }
        return Calibration("fresh questions", round(diagrams["after"].weight.sum()), diagrams)
    if left_out is None:
        return None
    answers = learned.feedback.comparisons
    guessed = of_rows(learned.after.share_of_guesses(learned.feedback), answers.annotator)
    predicted = (1.0 - guessed) * jnp.asarray(left_out.predicted) + 0.5 * guessed
    diagram = jax.device_get(reliability(predicted, answers.preference, answers.weight, BINS))
    return Calibration("answers left out", int(np.sum(answers.weight > 0)), {"after": diagram})


def _pairs(key: PRNGKeyArray, count: int) -> Integer[Array, "2 pair"]:
    """Pairs of different clips in random order, none twice."""
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    pairs = np.stack(np.triu_indices(count, 1))
    pairs = pairs[:, draw.permutation(pairs.shape[1])[:FRESH_QUERIES]]
    return jnp.asarray(np.where(draw.random(pairs.shape[1]) < 0.5, pairs, pairs[::-1]))


@jax.jit
def _of_fresh(
    key: PRNGKeyArray,
    belief: Belief,
    clips: Segment,
    pairs: Integer[Array, "2 pair"],
    feedback: Feedback,
) -> Reliability:
    """Reliability on pairs that were not asked about, answered by an errorless teacher."""
    one, other = clips[pairs[0]], clips[pairs[1]]
    answer, weight = Teacher().compare(
        key, one.task_reward, other.task_reward, Scale.of(clips.task_reward)
    )
    weight *= ~compared(one, other, feedback.comparisons)
    predicted = predicted_preferences(belief, Comparison(one, other, answer, weight))
    return reliability(predicted, answer, weight, BINS)
