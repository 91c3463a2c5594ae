"""Networks: how they start, what they take, and what a context does to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.networks import MLP, Categorical, DiagGaussian, build_agent
from metarlhf.networks.layers import orthogonal


@pytest.mark.parametrize("shape", [(5, 5), (64, 8), (3, 70), (64, 64), (1, 4)])
def test_orthogonal_matrices_are_orthogonal(shape):
    x = orthogonal(jax.random.key(0), *shape)
    assert x.shape == shape
    gram = x.T @ x if shape[0] >= shape[1] else x @ x.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=2e-4)


def test_a_network_starts_with_the_gains_it_should_and_no_bias():
    network = MLP((4, 16, 16, 2), key=jax.random.key(1), final_scale=0.01)
    largest = [float(jnp.linalg.norm(w, 2)) for w in network.weights]
    np.testing.assert_allclose(largest, [2**0.5, 2**0.5, 0.01], rtol=1e-3)
    assert all(not b.any() for b in network.biases)


def test_a_network_is_its_matrix_products_for_any_leading_dimensions():
    network = MLP((3, 5, 2), key=jax.random.key(2))
    network = jax.tree.map(lambda x: x + 0.1, network)
    x = np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float32)
    hidden = np.tanh(x @ np.asarray(network.weights[0]) + np.asarray(network.biases[0]))
    expected = hidden @ np.asarray(network.weights[1]) + np.asarray(network.biases[1])
    np.testing.assert_allclose(network(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5)


def test_agents_fit_their_family():
    obs = jnp.zeros((6, 4))
    agent = build_agent(jax.random.key(0), envs.make("cartpole"), (8,))
    distribution, state = agent.actor(obs)
    assert isinstance(distribution, Categorical)
    assert distribution.logits.shape == (6, 2)
    assert state is None
    assert agent.critic(obs).shape == (6,)
    reacher = build_agent(jax.random.key(0), envs.make("reacher"), (8,), initial_std=0.5)
    distribution, _ = reacher.actor(jnp.zeros((3, 8)))
    assert isinstance(distribution, DiagGaussian)
    np.testing.assert_allclose(jnp.exp(distribution.log_std), [0.5, 0.5], rtol=1e-6)
    assert reacher.actor.draw_noise(jax.random.key(0), (5, 3)).shape == (5, 3, 2)


def test_a_context_changes_what_an_agent_does_and_is_never_trained():
    family = envs.make("navigation")
    agent = build_agent(jax.random.key(0), family, (8,), context_size=3)
    obs = jnp.ones((2, 2))
    told = agent.with_context(jnp.array([1.0, -2.0, 0.5]))
    assert not np.allclose(agent.critic(obs), told.critic(obs))
    assert not np.allclose(agent.actor(obs)[0].mean, told.actor(obs)[0].mean)

    def output(agent):
        return agent.actor(obs)[0].mean.sum() + agent.critic(obs).sum()

    gradient = jax.grad(output)(told)
    assert not gradient.actor.context.any()
    assert not gradient.critic.context.any()
    assert gradient.critic.network.weights[0][2:].any()
