"""How many answers of each person are guesses is told from what all of them said."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.feedback import blank, empty
from metarlhf.reward import (
    ROBUST,
    Ensemble,
    Guesses,
    LatentPosterior,
    LatentReward,
    wrong_answers,
)
from metarlhf.reward.likelihood import ANNOTATORS
from metarlhf.types import Comparison, Feedback
from tests.reward.walks import GOAL, clips

FAMILY, KEY = envs.make("navigation"), jax.random.key(0)
ANSWERS = 90


def asked(seed, count, by=None):
    """Questions that three people answer in turn, of whom the last tosses a coin."""
    left, right = clips(seed, count), clips(seed + 1, count)
    better = right.task_reward.sum(-1) > left.task_reward.sum(-1)
    people = jnp.arange(count) % 3
    coin = jax.random.bernoulli(jax.random.key(seed), shape=(count,))
    said = jnp.where(people == 2, coin, better).astype(jnp.float32)
    by = people if by is None else by
    nothing = empty(blank(FAMILY, 1)[0], 1, 0)
    return Feedback(Comparison(left, right, said, jnp.ones(count), by), nothing.ratings), better


def accuracy(belief):
    """On questions that nobody was asked."""
    told, better = asked(500, 400)
    left, right = told.comparisons.left, told.comparisons.right
    sums = lambda clips: np.asarray(belief(clips.obs, clips.action)).sum(-1)
    return float(((sums(right) > sums(left)) == np.asarray(better)).mean())


@pytest.fixture(scope="module")
def lessons():
    """Ensembles of ten lessons: fitted with everybody's own share, and with one of all of them."""
    config = replace(ROBUST, members=2, hidden=(32,), fit_steps=600, lr=1e-2)
    fit = jax.jit(lambda key, told: Ensemble.create(key, FAMILY, config).adapt(key, told))
    both = []
    for seed in range(10):
        told, _ = asked(10 * seed, ANSWERS)
        common = eqx.tree_at(lambda f: f.comparisons.annotator, told, jnp.zeros(ANSWERS, jnp.int32))
        key = jax.random.key(seed)
        both.append((told, fit(key, told), fit(key, common)))
    return both


def test_who_tosses_a_coin_is_told_from_who_does_not(lessons):
    for told, own, _ in lessons:
        wrong = wrong_answers(own, told, ("ana", "ben", "cleo"))
        assert wrong["cleo"] > 0.15 > 3.0 * max(wrong["ana"], wrong["ben"])


def test_a_share_for_each_person_makes_a_better_fit_than_one_for_all(lessons):
    own, common = (np.array([accuracy(one[i]) for one in lessons]) for i in (1, 2))
    assert own.mean() > common.mean() + 0.01
    assert (own >= common).mean() >= 0.7


class Cones(LatentReward):
    """Pays for being near one of forty goals, whichever the task variable names."""

    def phi(self, obs, action):
        return -jnp.linalg.norm(obs[..., None, :] - GOALS, axis=-1)


GOALS = jax.random.uniform(KEY, (40, 2), minval=-0.5, maxval=0.5).at[0].set(jnp.asarray(GOAL))


def cones():
    """A posterior over the forty goals, of which the first is the true one."""
    model = Cones(FAMILY, key=KEY, latent_size=40, num_features=40, hidden=())
    parts = lambda m: (m.decoder.weights, m.decoder.biases, m.log_sharpness)
    names = (jnp.eye(40),), (jnp.zeros(40),), jnp.log(20.0)
    return LatentPosterior.prior(eqx.tree_at(parts, model, names), jnp.eye(40))


def test_a_posterior_tells_them_apart_with_a_few_answers_and_is_nearer_to_the_truth():
    prior, more = cones(), []
    for seed in range(10):
        told, _ = asked(10 * seed, 45)
        by = told.comparisons.annotator
        common = eqx.tree_at(lambda f: f.comparisons.annotator, told, jnp.zeros_like(by))
        share = np.asarray(prior.share_of_guesses(told))
        assert share[2] > 0.4 > 0.2 > share[:2].max()
        # Who said nothing is believed to be as people are.
        np.testing.assert_allclose(share[3:], prior.guesses.expected, rtol=0.08)
        true = lambda f: float(jnp.log(prior.adapt(KEY, f).weight[0]))
        more.append([true(told), true(common)])
    own, shared = np.mean(more, axis=0)
    assert own > shared + 0.1


def test_who_answered_beyond_the_last_number_shares_that_ones():
    told, _ = asked(10, 30, by=jnp.arange(30))
    prior = cones()
    folded = eqx.tree_at(
        lambda f: f.comparisons.annotator, told, jnp.minimum(jnp.arange(30), ANNOTATORS - 1)
    )
    np.testing.assert_array_equal(prior.adapt(KEY, told).weight, prior.adapt(KEY, folded).weight)
    named = wrong_answers(prior, told, [f"p{i}" for i in range(40)])
    assert len(named) == 30
    assert named["p20"] == named["p29"] != named["p0"]


def test_what_is_known_is_not_learned():
    share, mass = Guesses(0.3, None).shares()
    assert (share.tolist(), mass.tolist()) == ([0.3], [1.0])
    prior = replace(cones(), guesses=Guesses(0.3, None))
    told, _ = asked(10, 30)
    np.testing.assert_allclose(prior.share_of_guesses(told), 0.3, rtol=1e-5)


def test_the_expected_share_is_the_mean():
    for expected, answers in ((0.1, 2.0), (0.2, 4.0), (0.05, 10.0)):
        share, mass = Guesses(expected, answers).shares()
        np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-5)
        np.testing.assert_allclose(mass @ share, expected, rtol=0.08)


@pytest.mark.parametrize(
    "settings", [{"expected": 1.0}, {"answers": 0.0}, {"expected": 0.0, "answers": 2.0}]
)
def test_expectations_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r"must be|nothing can be learned"):
        Guesses(**settings)
