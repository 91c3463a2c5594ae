"""Objectives in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.networks import Categorical
from metarlhf.ppo.objectives import discovered_surrogate, kl_penalised_surrogate
from metarlhf.ppo.update import adapt_kl_coefficient, clipped_surrogate


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [
        (1.1, 2.0, 2.2, 2.0),  # within the range: the plain surrogate
        (1.5, 2.0, 2.4, 0.0),  # good and already likelier by far: no more
        (0.5, 2.0, 1.0, 2.0),  # good but less likely: back at full slope
        (0.5, -2.0, -1.6, 0.0),  # bad and already rarer by far: no less
        (1.5, -2.0, -3.0, -2.0),  # bad but likelier: back at full slope
    ],
)
def test_the_clipped_surrogate(ratio, advantage, objective, slope):
    loss = lambda r: clipped_surrogate(jnp.log(r)[None], jnp.array([advantage]), 0.2)
    value, gradient = jax.value_and_grad(loss)(jnp.array(ratio))
    np.testing.assert_allclose(-value, objective, rtol=1e-5)
    np.testing.assert_allclose(-gradient, slope, rtol=1e-5, atol=1e-6)


def test_the_clipped_surrogate_is_a_mean_over_steps():
    log_ratio = jnp.log(jnp.array([1.1, 1.5, 0.5]))
    loss = clipped_surrogate(log_ratio, jnp.array([2.0, 2.0, -2.0]), 0.2)
    np.testing.assert_allclose(loss, -(2.2 + 2.4 - 1.6) / 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage"),
    [(1.1, 2.0), (3.0, 2.0), (0.5, 2.0), (0.3, -2.0), (0.9, -2.0), (2.0, -2.0)],
)
def test_the_discovered_surrogate_is_its_closed_form_in_double_precision(ratio, advantage):
    x, width = ((ratio - 1) * advantage, 2.0) if advantage > 0 else (
        np.log(ratio) * advantage, 0.6
    )  # fmt: skip
    drift = max(0.0, x - width * np.tanh(x / width))
    slope = 1 / np.cosh(x / width) ** 2 - 1 if drift else 0.0
    slope *= advantage if advantage > 0 else advantage / ratio
    loss = lambda r: discovered_surrogate(jnp.log(r)[None], jnp.array([advantage]))
    value, gradient = jax.value_and_grad(loss)(jnp.array(ratio))
    np.testing.assert_allclose(-value, ratio * advantage - drift, rtol=1e-5)
    np.testing.assert_allclose(-gradient, advantage + slope, rtol=1e-4)
    if (ratio > 1) != (advantage > 0):
        assert drift == 0.0  # what undoes a step is charged nothing


def test_the_discovered_surrogate_is_a_mean_over_steps():
    each = [(1.5, 2.0), (0.4, -1.0), (1.2, -3.0)]
    log_ratio, advantage = jnp.log(jnp.array([r for r, _ in each])), jnp.array([a for _, a in each])
    alone = [discovered_surrogate(log_ratio[i : i + 1], advantage[i : i + 1]) for i in range(3)]
    whole = discovered_surrogate(log_ratio, advantage)
    np.testing.assert_allclose(whole, np.mean(alone), rtol=1e-6)


def test_the_penalised_surrogate():
    log_ratio, advantage = jnp.log(jnp.array([1.5, 0.5])), jnp.array([1.0, -2.0])
    loss = kl_penalised_surrogate(log_ratio, advantage, jnp.array([0.1, 0.3]), jnp.array(5.0))
    np.testing.assert_allclose(loss, -(1.5 - 1.0) / 2 + 5.0 * 0.2, rtol=1e-5)


def test_the_penalised_surrogate_stops_where_penalty_and_gain_balance():
    """Two actions, one better by 1: the best policy is p_old exp(A / b), normalised."""
    old, coefficient = Categorical(jnp.array([[0.0, 0.0]])), jnp.array(2.0)

    def loss(logit):
        new = Categorical(jnp.stack([logit, jnp.zeros(())])[None])
        # The exact expectation over actions: each is a step, weighted by 2 p_old = 1.
        actions = jnp.array([[0], [1]])
        ratio = jax.vmap(lambda a: new.log_prob(a) - old.log_prob(a))(actions)[:, 0]
        reverse = jnp.broadcast_to(old.kl(new), (2,))
        return kl_penalised_surrogate(ratio, jnp.array([0.5, -0.5]), reverse, coefficient)

    grid = jnp.linspace(-2.0, 2.0, 4001)
    best = float(grid[jnp.argmin(jax.vmap(loss)(grid))])
    # The derivative p (1 - p) = b (p - 1/2) for this direction of the divergence.
    p = 1 / (1 + np.exp(-best))
    np.testing.assert_allclose(p * (1 - p), 2.0 * (p - 0.5), atol=1e-3)


@pytest.mark.parametrize(
    ("kl", "factor"), [(0.016, 2.0), (0.0149, 1.0), (0.0068, 1.0), (0.0066, 0.5), (0.0, 0.5)]
)
def test_the_penalty_adapts_beyond_one_and_a_half_times_the_target(kl, factor):
    adapted = adapt_kl_coefficient(jnp.array(3.0), jnp.array(kl), 0.01)
    np.testing.assert_allclose(adapted, 3.0 * factor)


def test_the_penalty_stays_within_bounds():
    coefficient = jnp.array(1.0)
    for _ in range(30):
        coefficient = adapt_kl_coefficient(coefficient, jnp.array(1.0), 0.01)
    np.testing.assert_allclose(coefficient, 1e4)
    for _ in range(60):
        coefficient = adapt_kl_coefficient(coefficient, jnp.array(0.0), 0.01)
    np.testing.assert_allclose(coefficient, 1e-4)
