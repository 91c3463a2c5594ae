"""Attributions beside closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf.explain import (
    RewardOfInputs,
    completeness_error,
    features_of,
    integrated_gradients,
    permutation_importance,
)
from metarlhf.explain.attribution import relative_importance, sum_by_feature
from tests.explain.made_up import FAMILY, Kink, Quadratic

REWARD = RewardOfInputs(Quadratic(), FAMILY)
X = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4000, 4)), jnp.float32)


def test_parts_of_a_quadratic_reward_are_those_of_its_integral():
    """From 0: x gets 2 x^2 and half of what it earns together with y."""
    found = integrated_gradients(REWARD, X[:50], jnp.zeros((1, 4)))
    x, y, move = np.asarray(X[:50, 0]), np.asarray(X[:50, 1]), np.asarray(X[:50, 2])
    expected = np.stack([2 * x**2 + x * y / 2, -(y**2) + x * y / 2, move / 2, 0 * x], axis=-1)
    np.testing.assert_allclose(found.parts, expected, atol=1e-5)
    assert max(completeness_error(found)) < 1e-5


def test_over_several_references_parts_are_the_mean_and_still_add_up():
    references = X[100:103]
    found = integrated_gradients(REWARD, X[:20], references)
    each = [integrated_gradients(REWARD, X[:20], one[None]).parts for one in references]
    np.testing.assert_allclose(found.parts, np.mean(each, axis=0), atol=1e-5)
    np.testing.assert_allclose(found.total, REWARD(X[:20]) - REWARD(references).mean(), atol=1e-5)
    assert max(completeness_error(found)) < 1e-5


def test_parts_that_do_not_add_up_are_found_out():
    coarse = integrated_gradients(RewardOfInputs(Kink(), FAMILY), X[:50], X[50:52], nodes=1)
    fine = integrated_gradients(RewardOfInputs(Kink(), FAMILY), X[:50], X[50:52], nodes=200)
    assert completeness_error(coarse)[0] > 0.05
    assert completeness_error(fine)[0] < 0.01


def test_a_constant_reward_has_nothing_to_explain_not_even_rounding():
    """The mean of seven float32 of 0.1 is another number than 0.1."""
    constant = lambda x: jnp.full(x.shape[0], 0.1, jnp.float32)
    assert float(jnp.full(7, 0.1, jnp.float32).mean()) != np.float32(0.1)
    found = integrated_gradients(constant, X[:20], X[20:27])
    assert completeness_error(found) == (0.0, 0.0)


def test_permuting_a_feature_costs_its_part_of_the_variance():
    """Of independent features the total Sobol index, here from uniform moments."""
    found = permutation_importance(jax.random.key(0), REWARD, X, features_of(FAMILY), repeats=4)
    variance = {"x": 4 * 4 / 45, "y": 4 / 45, "xy": 1 / 9, "move": 0.25 / 3}
    whole = sum(variance.values())
    alone = variance["x"] + variance["xy"], variance["y"] + variance["xy"], variance["move"], 0.0
    np.testing.assert_allclose(found, np.array(alone) / whole, atol=0.03)


def test_choices_count_as_one_feature():
    from metarlhf import envs
    from metarlhf.explain import inputs_of

    family = envs.make_family("cartpole")
    features = features_of(family)
    assert [f.name for f in features][-1] == "action"
    assert features[-1].options == ("push left", "push right")
    x = inputs_of(family, np.zeros((3, 4), np.float32), np.array([0, 1, 1]))
    np.testing.assert_array_equal(x[:, 4:], [[1, 0], [0, 1], [0, 1]])
    parts = sum_by_feature(np.arange(12.0).reshape(2, 6), features)
    np.testing.assert_array_equal(parts[:, -1], [9, 21])
    np.testing.assert_allclose(relative_importance(parts).sum(), 1.0)


def test_actions_are_shown_in_the_simulators_units():
    move = features_of(FAMILY)[2]
    assert move.name == "move x"
    np.testing.assert_allclose(move.in_units(np.array([-1.0, 0.5])), [-0.1, 0.05])
    from metarlhf import envs

    pendulum = features_of(envs.make_family("pendulum"))
    assert [f.label for f in pendulum][2:] == ["speed / 4 (rad/s)", "torque (N m)"]
