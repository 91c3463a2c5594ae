"""Asking a simulated teacher a few questions, each chosen in the light of the answers before it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf.envs.base import TaskFamily
from metarlhf.feedback.clips import (
    Library,
    among,
    compared,
    empty,
    record_comparison,
    record_rating,
)
from metarlhf.feedback.queries import rating_information_gain, score_pairs
from metarlhf.feedback.teachers import Scale
from metarlhf.reward.belief import Belief
from metarlhf.reward.likelihood import LAPSE, answer_log_likelihood, rating_log_likelihood
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.types import Comparison, Feedback, Rating, Segment, Task


class Answers(NamedTuple):
    """All answers so far, and how many they are."""

    feedback: Feedback
    count: Integer[Array, ""]


def ask(
    key: PRNGKeyArray,
    belief: Belief,
    clips: Segment,
    showable: Bool[Array, " clip"],
    answers: Answers,
    bounds: tuple[float, float],
    config: RLHFConfig,
) -> Answers:
    """Ask the questions of one round about `clips`, and keep the answers.

    A question that the teacher skips is replaced by another one; it costs nothing. Where there is
    nothing left to ask, less is asked.
    """
    if not config.labels:
        return answers
    last = jnp.minimum(answers.count + config.labels_per_round, config.labels)
    # Predictions change only by how much each member is believed, so they are computed once.
    sums = belief.clip_sums(clips)
    if config.feedback == "ratings":
        question, standard = _ask_rating, bounds
    else:
        question, standard = _ask_comparison, Scale.of(clips.task_reward, showable)

    def step(carry, inputs):
        belief, answers, put = carry
        attempt, key = inputs
        candidate_key, question_key = jax.random.split(key)
        candidates = draw_candidates(candidate_key, showable, config)
        belief, answers, chosen = question(
            question_key, belief, clips, sums, candidates, put, answers, standard, config
        )
        told = belief, answers, put.at[attempt].set(chosen)
        open_ = (carry[1].count < last) & showable.any()
        return jax.tree.map(lambda new, old: jnp.where(open_, new, old), told, carry), None

    attempts = config.labels_per_round * (3 if config.teacher.skip else 1)
    # The questions of this round, by number of clip: a skipped one leaves no other trace.
    put = jnp.full((attempts, 2), -1)
    inputs = (jnp.arange(attempts), jax.random.split(key, attempts))
    (_, answers, _), _ = jax.lax.scan(step, (belief, answers, put), inputs)
    return answers


def draw_candidates(
    key: PRNGKeyArray, showable: Bool[Array, " clip"], config: RLHFConfig
) -> Integer[Array, "2 pair"]:
    """Pairs of clips that may be shown, by number."""
    logits = jnp.where(showable, 0.0, -jnp.inf)
    return jax.random.categorical(key, logits, shape=(2, config.candidates))


def ask_about(
    key: PRNGKeyArray,
    belief: Belief,
    library: Library,
    family: TaskFamily,
    task: Task,
    config: RLHFConfig,
) -> tuple[Belief, Answers]:
    """All rounds of questions about the library alone; the belief learns from each round."""
    clips = library.seen_under(family, task)
    comparisons, ratings = config.labels, 0
    if config.feedback == "ratings":
        comparisons, ratings = ratings, comparisons
    answers = Answers(empty(clips[0], comparisons, ratings), jnp.zeros((), jnp.int32))
    showable = jnp.ones(len(library), bool)
    for round_key in jax.random.split(key, config.rounds):
        ask_key, adapt_key = jax.random.split(round_key)
        answers = ask(ask_key, belief, clips, showable, answers, family.reward_bounds, config)
        belief = belief.adapt(adapt_key, answers.feedback)
    return belief, answers


def _ask_comparison(key, belief, clips, sums, candidates, put, answers, scale, config):
    score_key, answer_key = jax.random.split(key)
    asked = answers.feedback.comparisons
    best = best_comparison(score_key, belief, clips, sums, candidates, put, asked, config)
    left, right = clips[best.clips[0]], clips[best.clips[1]]
    preference, weight = config.teacher.compare(
        answer_key, left.task_reward, right.task_reward, scale
    )
    weight = weight * jnp.isfinite(best.score)
    feedback = record_comparison(answers.feedback, answers.count, left, right, preference, weight)
    likelihood = answer_log_likelihood(best.logit, preference, LAPSE) * weight
    count = answers.count + (weight > 0)
    return belief.condition(likelihood), Answers(feedback, count), best.clips


def _ask_rating(key, belief, clips, sums, candidates, put, answers, bounds, config):
    levels = config.teacher.levels
    best = best_rating(belief, clips, sums, candidates[0], answers.feedback.ratings, config)
    shown = clips[best.clips[0]]
    mark = config.teacher.rate(key, shown.task_reward, bounds)
    weight = jnp.isfinite(best.score).astype(jnp.float32)
    feedback = record_rating(answers.feedback, answers.count, shown, mark, levels, weight)
    likelihood = rating_log_likelihood(best.logit, mark, belief.rating_log_std, levels)
    count = answers.count + (weight > 0)
    return belief.condition(likelihood * weight), Answers(feedback, count), best.clips


class Best(NamedTuple):
    """The question of several that is worth most.

    `clips` are its two by number, one twice for a rating; `score` is -inf where there is no new
    question; `logit` is what each member predicts, the mean reward of a step for a rating.
    """

    clips: Integer[Array, "2"]
    score: Float[Array, ""]
    logit: Float[Array, " member"]


def best_comparison(
    key: PRNGKeyArray,
    belief: Belief,
    clips: Segment,
    sums: Float[Array, "member clip"],
    candidates: Integer[Array, "2 pair"],
    put: Integer[Array, "round 2"],
    asked: Comparison,
    config: RLHFConfig,
) -> Best:
    """The best of some pairs.

    No clip is compared with itself, and no question put twice: what the reward model gets wrong
    about a clip it gets wrong every time, so the same answer again would count for too much.
    `asked` are the questions of rounds before, `put` those of this round, by number of clip.
    """
    left, right = candidates
    logit = belief.sharpness * (sums[:, right] - sums[:, left])
    score = score_pairs(key, jax.nn.sigmoid(logit), belief.weight, config.strategy)
    again = compared(clips[left], clips[right], asked)
    again |= jnp.any(jnp.all(candidates.T[:, None] == put, axis=-1), axis=-1)
    again |= jnp.any(jnp.all(candidates[::-1].T[:, None] == put, axis=-1), axis=-1)
    score = jnp.where((left == right) | again, -jnp.inf, score)
    best = jnp.argmax(score)
    return Best(candidates[:, best], score[best], logit[:, best])


def best_rating(
    belief: Belief,
    clips: Segment,
    sums: Float[Array, "member clip"],
    candidates: Integer[Array, " candidate"],
    asked: Rating,
    config: RLHFConfig,
    fresh: Bool[Array, " candidate"] | None = None,
) -> Best:
    """The best of some clips to be given a mark; none is given two, nor any that is not `fresh`."""
    levels = config.teacher.levels
    predicted = sums[:, candidates] / clips.obs.shape[-2]
    if config.strategy == "uniform":
        score = jnp.zeros(candidates.shape)
    else:
        marks = jnp.arange(1.0, levels + 1.0)[:, None, None]
        log_std = jnp.reshape(belief.rating_log_std, (-1, 1))
        log_probability = rating_log_likelihood(predicted, marks, log_std, levels)
        score = rating_information_gain(log_probability, belief.weight)
    again = among(clips[candidates], asked.segment, asked.weight)
    again = again if fresh is None else again | ~fresh
    score = jnp.where(again, -jnp.inf, score)
    best = jnp.argmax(score)
    chosen = jnp.stack([candidates[best], candidates[best]])
    return Best(chosen, score[best], predicted[:, best])
