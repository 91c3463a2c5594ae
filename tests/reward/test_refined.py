"""A posterior, then gradient steps: answers teach what no particle holds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.reward import Belief, LatentPosterior, LatentReward
from metarlhf.reward.latent import RefinedPosterior
from metarlhf.types import Comparison, Feedback, Rating, Segment

FAMILY, LENGTH, KEY = envs.make("navigation"), 4, jax.random.key(0)
COUNTS = (0, 4, 16, 64)


def clips(key, count):
    obs = jax.random.normal(key, (count, LENGTH, 2))
    return Segment(obs, jnp.tanh(obs), jnp.zeros((count, LENGTH)))


@pytest.fixture(scope="module")
def prior():
    """Thirty rewards, of which none is the one that is wanted."""
    model = LatentReward(FAMILY, key=KEY, latent_size=3, num_features=8, hidden=(8,))
    model = eqx.tree_at(lambda m: m.decoder, model, jax.tree.map(lambda x: 5 * x, model.decoder))
    return LatentPosterior.prior(model, jax.random.normal(jax.random.key(1), (30, 3)))


@pytest.fixture(scope="module")
def ranked(prior):
    """How often posterior and refined one are right about new pairs: [answers, which of the two].

    Mean of eight people, who each want what a particle does and something beside it.
    """
    shown, new = clips(jax.random.key(2), 128), clips(jax.random.key(3), 400)
    phi = jax.jit(lambda clips: prior.model.phi_of(clips))
    seen, judged = phi(shown), phi(new)
    particles = prior.model.decoder(prior.particles)

    def person(key):
        wanted = particles[0] + jax.random.normal(key, particles[0].shape)

        def after(count):
            sums = seen @ wanted
            left, right = shown[:64], shown[64:]
            told = (sums[64:] > sums[:64]).astype(float)
            given = (jnp.arange(64) < count).astype(float)
            nothing = Rating(shown[:0], *[jnp.zeros(0)] * 3)
            feedback = Feedback(Comparison(left, right, told, given), nothing)
            refined = RefinedPosterior.of(prior).adapt(KEY, feedback)

            def accuracy(weights):
                right = judged[200:] - judged[:200]
                return jnp.mean((right @ weights > 0) == (right @ wanted > 0))

            alone = refined.posterior.mean_weights()
            return jnp.stack([accuracy(alone), accuracy(alone + refined.correction)])

        return jax.vmap(after)(jnp.array(COUNTS))

    return np.asarray(jax.jit(jax.vmap(person))(jax.random.split(KEY, 8)).mean(0))


def test_without_an_answer_it_is_the_posterior(ranked):
    alone, refined = ranked[0]
    assert refined == alone


def test_it_never_ranks_worse_than_the_posterior_alone_and_better_with_many_answers(ranked):
    alone, refined = ranked.T
    assert (refined >= alone).all()
    assert refined[-1] > alone[-1] + 0.02


def test_more_answers_rank_better(ranked):
    refined = ranked[:, 1]
    assert (np.diff(refined) > 0).all()
    assert refined[-1] > 0.87


def test_it_is_a_belief_like_the_posterior(prior):
    """To who asks and plays, correction or not: particles, weights, contexts."""
    refined = RefinedPosterior(prior, jnp.ones(8))
    shown = clips(KEY, 5)
    assert isinstance(refined, Belief)
    np.testing.assert_array_equal(refined.context(), prior.context())
    # Each particle is corrected alike, so the mean is, too.
    mean = refined.weight @ refined.clip_sums(shown)
    by_steps = refined(shown.obs, shown.action).sum(-1)
    np.testing.assert_allclose(mean, by_steps, rtol=1e-4, atol=1e-4)
    told = refined.condition(jnp.zeros(30).at[4].set(50.0))
    np.testing.assert_allclose(told.context(), prior.particles[4], rtol=1e-4)
    np.testing.assert_array_equal(told.correction, refined.correction)
