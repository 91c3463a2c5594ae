"""A network bends gradient descent: by what it says, in units of gradients, and differentiably."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarlhf.contrib.learned_optimiser import LearnedOptimiser, Schedule, learned_descent

NETWORK = LearnedOptimiser(key=jax.random.key(0))
PARAMS = {"layers": [jnp.array([[1.0, -2.0], [0.5, 3.0]]), jnp.array([0.2, -0.1])]}
STEPS = 3


def gradients(seed):
    return jax.tree.map(lambda p: jax.random.normal(jax.random.key(seed), p.shape), PARAMS)


def loud(added, exponent):
    """It says the same of every parameter."""
    bias = jnp.array([added, exponent, 7.0])
    return eqx.tree_at(lambda n: n.layers[-1].bias, NETWORK.silenced(), bias)


def moves(network, scale=1.0, steps=STEPS):
    """Of each step, gradients multiplied by `scale`, at the same parameters."""
    rule, found = learned_descent(network, Schedule(updates=STEPS), 0.1), []
    state, update = rule.init(PARAMS), jax.jit(rule.update)
    for seed in range(steps):
        gradient = jax.tree.map(lambda g: scale * g, gradients(seed))
        updates, state = update(gradient, state, PARAMS)
        found.append(updates["layers"])
    return found


def test_one_that_says_nothing_is_plain_descent():
    plain = optax.sgd(0.1)
    for seed, found in enumerate(moves(NETWORK.silenced())):
        expected, _ = plain.update(gradients(seed), plain.init(PARAMS))
        jax.tree.map(np.testing.assert_array_equal, found, expected["layers"])


def test_it_moves_by_what_it_says():
    for seed, found in enumerate(moves(loud(0.5, np.log(2.0)))):
        for move, g in zip(found, gradients(seed)["layers"], strict=True):
            rms = np.sqrt(np.mean(np.square(g)))
            np.testing.assert_allclose(move, -0.1 * (2.0 * g + 0.5 * rms), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_moves_scale_as_gradients_do(scale):
    for small, large in zip(moves(NETWORK), moves(NETWORK, scale), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(scale * a, b, rtol=1e-3), small, large)


def test_it_remembers_and_knows_how_far_along_it_is():
    """The first step again would be another than the second of the same gradient."""
    rule = learned_descent(NETWORK, Schedule(updates=STEPS), 0.1)
    first, state = rule.update(gradients(0), rule.init(PARAMS), PARAMS)
    second, _ = rule.update(gradients(0), state, PARAMS)
    late, _ = rule.update(gradients(0), state._replace(memory=rule.init(PARAMS).memory), PARAMS)
    assert len({float(x["layers"][0][0, 0]) for x in (first, second, late)}) == 3


def test_derivatives_are_finite_where_nothing_is_to_be_done():
    """Gradients of zero, where roots and logarithms have no derivative."""

    def moved(network, gradient):
        rule = learned_descent(network, Schedule(updates=STEPS), 0.1)
        updates, _ = rule.update(gradient, rule.init(PARAMS), PARAMS)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(updates))

    nothing = jax.tree.map(jnp.zeros_like, PARAMS)
    of_network, of_gradient = jax.grad(moved, argnums=(0, 1))(loud(0.5, 0.1), nothing)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_network))
    for leaf in jax.tree.leaves(of_gradient):
        np.testing.assert_allclose(leaf, -0.1 * np.exp(0.1), rtol=1e-5)


def test_it_asks_for_the_parameters():
    rule = learned_descent(NETWORK, Schedule(updates=STEPS), 0.1)
    with pytest.raises(ValueError, match="give update its params"):
        rule.update(gradients(0), rule.init(PARAMS))
