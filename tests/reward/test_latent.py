"""The posterior over task variables is Bayes' rule, whatever the order of answers."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta

from metarlhf import envs
from metarlhf.reward import Guesses, LatentPosterior, LatentReward
from metarlhf.reward.latent import RefinedPosterior
from metarlhf.types import Comparison, Feedback, Rating, Segment

FAMILY, PARTICLES, LENGTH = envs.make("navigation"), 20, 4
KEY = jax.random.key(0)


def clips(key, count):
    obs = jax.random.normal(key, (count, LENGTH, 2))
    return Segment(obs, jnp.tanh(obs), jnp.zeros((count, LENGTH)))


@pytest.fixture(scope="module")
def prior():
    model = LatentReward(FAMILY, key=KEY, latent_size=3, num_features=6, hidden=(8,))
    # Larger weights than a fresh decoder's, so that particles differ.
    model = eqx.tree_at(lambda m: m.decoder, model, jax.tree.map(lambda x: 8 * x, model.decoder))
    return LatentPosterior.prior(model, jax.random.normal(jax.random.key(1), (PARTICLES, 3)))


@pytest.fixture(scope="module")
def feedback():
    """Seven comparisons, of which one was skipped, and three marks."""
    keys = jax.random.split(jax.random.key(2), 3)
    answers = jnp.array([0.0, 1.0, 0.5, 1.0, 1.0, 0.0, 1.0])
    given = jnp.ones(7).at[3].set(0.0)
    return Feedback(
        Comparison(clips(keys[0], 7), clips(keys[1], 7), answers, given),
        Rating(clips(keys[2], 3), jnp.array([2.0, 10.0, 5.0]), jnp.full(3, 10.0), jnp.ones(3)),
    )


def by_hand(prior, feedback, guessed=lambda chosen, annotator: chosen(0.02).prod(0)):
    """Bayes' rule, one particle and one answer at a time, in double precision.

    `guessed` makes of comparisons' probabilities [comparison, particle], given a share of guesses,
    that of all.
    """
    w = np.asarray(prior.model.decoder(prior.particles), float)
    phi = lambda clip: np.asarray(prior.model.phi(clip.obs, clip.action), float).sum(1)
    sharpness, std = float(prior.sharpness), float(jnp.exp(prior.rating_log_std))
    comparisons, ratings = feedback.comparisons, feedback.ratings
    difference = (phi(comparisons.right) - phi(comparisons.left)) @ w.T
    given = np.asarray(comparisons.weight) > 0
    answer = np.asarray(comparisons.preference, float)[given, None]

    def chosen(share):
        right = (1 - share) / (1 + np.exp(-sharpness * difference[given])) + share / 2
        return right**answer * (1 - right) ** (1 - answer)

    density = guessed(chosen, np.asarray(comparisons.annotator)[given])
    for predicted, mark in zip(phi(ratings.segment) @ w.T / LENGTH, ratings.value, strict=True):
        below = lambda level: 1 / (1 + np.exp(-(level / 10 - predicted) / std))
        upper = below(float(mark)) if mark < 10 else 1.0
        lower = below(float(mark) - 1) if mark > 1 else 0.0
        density *= 0.98 * (upper - lower) + 0.02 / 10
    return density / density.sum()


def knowing(prior, share):
    """That so many comparisons are guesses, whoever answers."""
    return replace(prior, guesses=Guesses(share, None))


def test_weights_are_bayes_rule(prior, feedback):
    np.testing.assert_allclose(prior.weight, np.full(PARTICLES, 1 / PARTICLES), rtol=1e-5)
    posterior = knowing(prior, 0.02).adapt(KEY, feedback)
    expected = by_hand(prior, feedback)
    assert expected.max() > 2 / PARTICLES
    np.testing.assert_allclose(posterior.weight, expected, rtol=1e-3, atol=1e-6)


def integrated(guesses):
    """Over a beta distribution of each person's share of guesses, by its quantiles."""
    a, b = guesses.expected * guesses.answers, (1 - guesses.expected) * guesses.answers
    shares = beta.ppf((np.arange(2000) + 0.5) / 2000, a, b)

    def guessed(chosen, annotator):
        whole = []
        for person in np.unique(annotator):
            whole.append(
                np.mean([chosen(share)[annotator == person].prod(0) for share in shares], axis=0)
            )
        return np.prod(whole, axis=0)

    return guessed


def test_what_people_guess_is_integrated_over_each_by_themselves(prior, feedback):
    by = jnp.array([0, 1, 1, 0, 0, 1, 2])
    several = eqx.tree_at(lambda f: f.comparisons.annotator, feedback, by)
    for told in (feedback, several):
        expected = by_hand(prior, told, integrated(prior.guesses))
        np.testing.assert_allclose(prior.adapt(KEY, told).weight, expected, rtol=0.03)
    one, three = prior.adapt(KEY, feedback).weight, prior.adapt(KEY, several).weight
    assert float(jnp.abs(one - three).max()) > 1e-3


def test_the_order_of_answers_does_not_matter(prior, feedback):
    order = jnp.array([4, 2, 6, 0, 1, 5, 3])
    shuffled = Feedback(jax.tree.map(lambda x: x[order], feedback.comparisons), feedback.ratings)
    one, other = prior.adapt(KEY, feedback), prior.adapt(KEY, shuffled)
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-4)


def test_answers_are_not_counted_twice(prior, feedback):
    once = prior.adapt(KEY, feedback)
    np.testing.assert_array_equal(once.weight, once.adapt(KEY, feedback).weight)


def test_conditioning_one_by_one_is_conditioning_on_all(prior, feedback):
    likelihood = prior.log_likelihood(feedback)
    halves = prior.condition(0.25 * likelihood).condition(0.75 * likelihood)
    np.testing.assert_allclose(halves.weight, prior.adapt(KEY, feedback).weight, rtol=1e-3)


def test_the_mean_reward_is_the_weighted_mean_of_what_particles_say(prior, feedback):
    posterior, shown = prior.adapt(KEY, feedback), clips(jax.random.key(5), 4)
    sums = posterior(shown.obs, shown.action).sum(-1)
    expected = np.asarray(posterior.weight) @ np.asarray(posterior.clip_sums(shown))
    np.testing.assert_allclose(sums, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        posterior.context(), np.asarray(posterior.weight) @ np.asarray(prior.particles), rtol=1e-4
    )


def test_contexts_are_drawn_as_often_as_they_are_believed(prior):
    log_weight = (
        jnp.full(PARTICLES, -jnp.inf).at[jnp.array([2, 7])].set(jnp.log(jnp.array([1.0, 3])))
    )
    belief = eqx.tree_at(lambda b: b.log_weight, prior, log_weight)
    drawn = np.asarray(belief.sample_contexts(KEY, 2000))
    seventh = (drawn == np.asarray(prior.particles[7])).all(1)
    second = (drawn == np.asarray(prior.particles[2])).all(1)
    assert (seventh | second).all()
    np.testing.assert_allclose(seventh.mean(), 0.75, atol=0.04)


def test_a_refined_posterior_explains_answers_better_and_moves_only_by_answers(prior, feedback):
    refined = RefinedPosterior.of(prior)
    adapt = jax.jit(lambda belief, told: belief.adapt(KEY, told))
    unanswered = eqx.tree_at(
        lambda f: (f.comparisons.weight, f.ratings.weight), feedback, (jnp.zeros(7), jnp.zeros(3))
    )
    np.testing.assert_array_equal(adapt(refined, unanswered).correction, 0.0)
    compared = eqx.tree_at(lambda f: f.ratings.weight, feedback, jnp.zeros(3))
    told, comparisons = adapt(refined, compared), compared.comparisons
    assert float(jnp.abs(told.correction).max()) > 0.01

    def surprise(belief):
        right, left = (
            belief(c.obs, c.action).sum(-1) for c in (comparisons.right, comparisons.left)
        )
        chance = 0.98 * jax.nn.sigmoid(belief.sharpness * (right - left)) + 0.01
        wanted = comparisons.preference
        each = wanted * jnp.log(chance) + (1 - wanted) * jnp.log(1 - chance)
        return -float(each @ comparisons.weight)

    assert surprise(told) < surprise(prior.adapt(KEY, compared)) - 0.05
