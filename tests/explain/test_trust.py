"""What answers are to one another, and how sure predictions are."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.explain import ExplainedAnswer, calibration, explain_answers, leave_one_out
from metarlhf.report import explanation_text as text
from metarlhf.reward import ROBUST, Ensemble, LatentPosterior, LatentReward, Learned, wrong_answers
from metarlhf.reward.calibration import predicted_preferences
from metarlhf.types import Comparison, Feedback, Rating
from tests.reward.test_ensemble import clips, compared

FAMILY, KEY, COUNT = envs.make("navigation"), jax.random.key(0), 24
NONE = Rating(clips(3, 0), *[jnp.zeros(0)] * 3)
PEOPLE = ("ana", "ben")


@pytest.fixture(scope="module")
def learned():
    """Two people's answers, of which one is turned round that is plain."""
    asked, gap = (
        compared(10, 80),
        lambda c: c.right.task_reward.sum(-1) - c.left.task_reward.sum(-1),
    )
    plain = jnp.argsort(-jnp.abs(gap(asked)))[:COUNT]
    said = jax.tree.map(lambda x: x[plain], asked)
    turned = said.preference.at[3].set(1.0 - said.preference[3])
    said = Comparison(said.left, said.right, turned, said.weight, jnp.arange(COUNT) % 2)
    config = replace(ROBUST, members=2, hidden=(16,), fit_steps=300, lr=1e-2)
    before, feedback = Ensemble.create(KEY, FAMILY, config), Feedback(said, NONE)
    after = jax.jit(lambda belief: belief.adapt(KEY, feedback))(before)
    return Learned(before, after, feedback, clips(50, 64), FAMILY, PEOPLE)


def test_an_answer_that_does_not_fit_the_others_is_said_so_with_who_gave_it(learned):
    left_out, alone = leave_one_out(KEY, learned)
    assert not alone  # too many for an ensemble to be fitted without each of them
    found = explain_answers(learned, left_out, alone)
    assert found[3].misfit
    assert found[3].annotator == "ben"
    assert sum(one.misfit for one in found) <= 3
    assert all(one.influence is None for one in found)
    told = text.misfits(found, "people")
    assert "4" in told
    assert "does not fit" in told or "do not fit" in told
    wrong = wrong_answers(learned.after, learned.feedback, PEOPLE)
    ana, ben = text.annotators(found, wrong)
    assert (ana.name, ana.answers, ben.answers) == ("ana", 12, 12)
    assert wrong["ben"] > wrong["ana"]
    assert int(ben.misfits) >= 1


def test_of_a_teacher_who_never_errs_the_model_is_to_be_doubted():
    clip = (np.zeros((2, 2)),) * 2
    fits, not_fits = (
        ExplainedAnswer(n, clip, 1.0, 0.5, 0.9, left_out=o) for n, o in ((1, 0.9), (2, 0.1))
    )
    assert text.misfits([fits], "true") == "Every answer fits the others."
    said = {by: text.misfits([fits, not_fits], by) for by in ("people", "true", "erring")}
    assert all(one.startswith("Answer 2 does not fit") for one in said.values())
    assert "a slip, perhaps" in said["people"]
    assert "slip" not in said["true"]
    assert "the others say too little of this" in said["true"]
    assert "the simulated teacher was set to err here" in said["erring"]
    many = text.misfits([not_fits] * 9, "true")
    assert many.startswith("9 of 9 answers do not fit")
    assert many.endswith("not the answer that is wrong.")


def test_few_answers_are_left_out_one_by_one(learned):
    few = jax.tree.map(lambda x: x[:6], learned.feedback.comparisons)
    model = LatentReward(FAMILY, key=KEY, latent_size=2, num_features=8, hidden=(16,))
    prior = LatentPosterior.prior(model, jax.random.normal(KEY, (50, 2)))
    told = Feedback(few, NONE)
    short = Learned(prior, prior.adapt(KEY, told), told, learned.seen, FAMILY)
    left_out, alone = leave_one_out(KEY, short)
    assert alone
    without = eqx.tree_at(lambda f: f.comparisons.weight, told, jnp.ones(6).at[2].set(0.0))
    expected = predicted_preferences(prior.adapt(KEY, without), few)[2]
    found = explain_answers(short, left_out, alone)
    assert found[2].left_out == pytest.approx(float(expected), abs=1e-4)
    assert all(one.influence is not None and one.annotator is None for one in found)
    two = jax.tree.map(lambda x: x[:2], few)
    assert leave_one_out(KEY, replace(short, feedback=Feedback(two, NONE))) == (None, False)


def test_calibration_is_by_fresh_questions_where_the_true_reward_is_known(learned):
    left_out, _ = leave_one_out(KEY, learned)
    fresh, given = (calibration(KEY, learned, left_out, true) for true in (True, False))
    assert set(fresh.diagrams) == {"before", "after"}
    error = {name: float(one.expected_error) for name, one in fresh.diagrams.items()}
    assert error["after"] < 0.2
    assert "answered by the true reward" in text.calibration(fresh)
    assert (given.of, given.questions) == ("answers left out", COUNT)
    said = learned.feedback.comparisons
    likely = np.where(np.asarray(said.preference) > 0.5, left_out.predicted, 1 - left_out.predicted)
    diagram = given.diagrams["after"]
    right = float(np.sum(diagram.right * diagram.weight) / COUNT)
    assert right == pytest.approx(float((likely >= 0.5).mean()), abs=1e-5)
    assert "so few answers say little" in text.calibration(given)
    assert calibration(KEY, learned, None, False) is None
    assert text.calibration(None) == ""
