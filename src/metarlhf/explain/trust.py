"""How far answers and predictions may be trusted: what each is to the others; calibration."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, PRNGKeyArray

from metarlhf.feedback import Teacher
from metarlhf.feedback.segments import compared
from metarlhf.feedback.teachers import Scale
from metarlhf.reward import Belief, Ensemble, Learned
from metarlhf.reward.calibration import Reliability, predicted_preferences, reliability
from metarlhf.reward.guesses import of_rows
from metarlhf.reward.influence import Influence, influence
from metarlhf.types import Comparison, Feedback, Segment

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
