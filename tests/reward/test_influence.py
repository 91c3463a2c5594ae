"""Answers left out in turn."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.reward import ROBUST, Ensemble, Guesses, LatentPosterior, LatentReward
from metarlhf.reward.calibration import influence, predicted_preferences
from metarlhf.types import Feedback, Rating
from tests.reward.test_ensemble import FAMILY, KEY, clips, compared

NONE = Rating(clips(3, 0), *[jnp.zeros(0)] * 3)
CONFIG = replace(ROBUST, hidden=(32,), fit_steps=200, lr=1e-2)
START = Ensemble.create(KEY, FAMILY, CONFIG)
WRONG, COUNT = 4, 24


def turned(comparisons):
    """One answer is wrong; one that is plain."""
    return eqx.tree_at(
        lambda c: c.preference,
        comparisons,
        comparisons.preference.at[WRONG].set(1.0 - comparisons.preference[WRONG]),
    )


@pytest.fixture(scope="module")
def answered():
    comparisons = compared(10, 60)
    sums = lambda clips: clips.task_reward.sum(-1)
    plain = jnp.argsort(-jnp.abs(sums(comparisons.left) - sums(comparisons.right)))[:COUNT]
    return turned(jax.tree.map(lambda x: x[plain], comparisons))


@pytest.fixture(scope="module")
def found(answered):
    return jax.jit(influence)(KEY, START, Feedback(answered, NONE), clips(50, 64))


def test_the_answer_that_the_others_contradict_is_the_first_suspect(found):
    assert int(found.suspects(3)[0]) == WRONG
    # It was taken for a slip: leaving it out changes little beside what the reward rests on.
    assert found.moved[WRONG] < 0.1 * found.moved.max()


def test_it_is_what_fitting_without_the_answer_gives(answered, found):
    """Left out by hand, and the answers after it moved up."""
    row = 7
    rest = jax.tree.map(
        lambda x: jnp.concatenate([x[:row], x[row + 1 :], x[row : row + 1]]), answered
    )
    rest = eqx.tree_at(lambda c: c.weight, rest, rest.weight.at[-1].set(0.0))
    belief = jax.jit(lambda said: START.adapt(KEY, said))(Feedback(rest, NONE))
    one = jax.tree.map(lambda x: x[row : row + 1], answered)
    difference = (belief.clip_sums(one.right) - belief.clip_sums(one.left))[:, 0]
    chance = jax.nn.sigmoid(belief.sharpness[:, 0] * difference)
    chance = jnp.where(one.preference[0] > 0.5, chance, 1.0 - chance)
    expected = jnp.log(jnp.mean(0.98 * chance + 0.01))
    np.testing.assert_allclose(found.log_likelihood[row], expected, rtol=2e-2, atol=1e-3)
    whole = jax.jit(lambda said: START.adapt(KEY, said))(Feedback(answered, NONE))
    judged = clips(50, 64)
    sums = [b(judged.obs, judged.action).sum(-1) for b in (belief, whole)]
    moved = 1.0 - np.corrcoef(*sums)[0, 1]
    np.testing.assert_allclose(found.moved[row], moved, rtol=0.1, atol=1e-5)


def test_rows_without_an_answer_do_nothing(answered, found):
    padded = jax.tree.map(lambda x: jnp.concatenate([x, x[:4]]), answered)
    padded = eqx.tree_at(lambda c: c.weight, padded, padded.weight.at[COUNT:].set(0.0))
    more = jax.jit(influence)(KEY, START, Feedback(padded, NONE), clips(50, 64))
    np.testing.assert_array_equal(more.moved[COUNT:], 0.0)
    np.testing.assert_array_equal(more.log_likelihood[COUNT:], 0.0)
    np.testing.assert_allclose(more.log_likelihood[:COUNT], found.log_likelihood, atol=1e-2)


def test_a_posterior_is_asked_the_same_way(answered):
    model = LatentReward(FAMILY, key=KEY, latent_size=2, num_features=8, hidden=(16,))
    particles = jax.random.normal(KEY, (50, 2))
    prior = LatentPosterior(model, particles, jnp.zeros(50), Guesses(0.02, None))
    found = jax.jit(influence)(KEY, prior, Feedback(answered, NONE), clips(50, 64))
    without = eqx.tree_at(lambda c: c.weight, answered, answered.weight.at[2].set(0.0))
    belief = prior.adapt(KEY, Feedback(without, NONE))
    one = eqx.tree_at(lambda c: c.weight, answered, jnp.zeros(COUNT).at[2].set(1.0))
    both = prior.log_likelihood(Feedback(one, NONE))
    expected = jax.nn.logsumexp(both, b=belief.weight)
    np.testing.assert_allclose(found.log_likelihood[2], expected, rtol=1e-4)
    assert (found.moved[found.log_likelihood != 0] >= -1e-6).all()
    likely = jnp.where(answered.preference > 0.5, found.predicted, 1.0 - found.predicted)
    np.testing.assert_allclose(jnp.log(0.98 * likely + 0.01), found.log_likelihood, rtol=1e-3)


def test_many_answers_are_left_out_in_folds(answered):
    """Each is judged by a fit to all but the answers of its own fold."""
    model = LatentReward(FAMILY, key=KEY, latent_size=2, num_features=8, hidden=(16,))
    prior = LatentPosterior.prior(model, jax.random.normal(KEY, (50, 2)))
    told = Feedback(answered, NONE)
    found = jax.jit(influence, static_argnames="folds")(KEY, prior, told, clips(50, 64), folds=3)
    for fold in range(3):
        rows = np.arange(COUNT) % 3 == fold
        kept = jnp.where(rows, 0.0, answered.weight)
        rest = eqx.tree_at(lambda f: f.comparisons.weight, told, kept)
        expected = predicted_preferences(prior.adapt(KEY, rest), answered)
        np.testing.assert_allclose(found.predicted[rows], expected[rows], rtol=1e-4)
        assert len(np.unique(np.asarray(found.moved)[rows])) == 1
    with pytest.raises(ValueError, match="folds must be 1 or more"):
        influence(KEY, prior, told, clips(50, 64), folds=0)
