"""A reward in one line: what is a sum is found to be one, and what is none says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.explain import features_of, fit_additive, read_additive
from metarlhf.explain.rewards import Feature
from metarlhf.explain.steps import BLOCK, TEST_EVERY
from metarlhf.reward import Ensemble, EnsembleConfig
from tests.explain.made_up import FAMILY

X = np.random.default_rng(1).uniform(-1, 1, (2000, 4)).astype(np.float32)
FEATURES = features_of(FAMILY)


def named(found):
    return [tuple(feature.name for feature in shape.features) for shape in found.shapes]


def test_a_sum_of_curves_is_told_by_its_curves():
    paid = np.sin(3 * X[:, 0]) + 0.8 * X[:, 1] ** 2
    found = fit_additive(X, paid, FEATURES)
    assert named(found) == [("x",), ("y",)]
    assert found.formula == "reward ≈ f(x) + f(y)"
    assert found.r2 > 0.99
    assert not found.exact
    shape = found.shapes[0]
    assert np.corrcoef(shape.values, np.sin(3 * shape.knots[0]))[0, 1] > 0.99
    np.testing.assert_allclose(shape.weight, np.sin(3 * X[:, 0]).std() / paid.std(), atol=0.03)


def test_what_two_features_do_together_takes_a_map():
    paid = X[:, 0] * X[:, 1] + 0.5 * X[:, 0] + 0.3 * X[:, 1]
    found = fit_additive(X, paid, FEATURES)
    assert named(found) == [("x", "y")]
    assert found.r2 > 0.98
    # x is to the right also where y tells more.
    assert named(fit_additive(X, paid + X[:, 1], FEATURES)) == [("x", "y")]


def test_what_is_no_sum_is_not_told_to_be_one():
    """The fidelity is of steps that it was not fitted to: noise is not explained."""
    noise = np.random.default_rng(2).normal(size=len(X))
    assert fit_additive(X, noise, FEATURES).r2 < 0.05
    paid = X[:, 0] + noise * X[:, 0].std()
    half = fit_additive(X, paid, FEATURES)
    assert named(half) == [("x",)]
    judged = np.arange(len(X)) // BLOCK % TEST_EVERY == TEST_EVERY - 1
    possible = 1 - np.var(noise[judged] * X[:, 0].std()) / np.var(paid[judged])
    assert possible - 0.06 < half.r2 < possible + 0.02


def test_an_additive_ensemble_is_read_and_its_curves_add_up_to_it():
    config = EnsembleConfig(members=2, network="additive", hidden=(8,))
    belief = Ensemble.create(jax.random.key(0), FAMILY, config)
    found = read_additive(belief, X, FEATURES)
    assert found.exact
    assert len(found.shapes) == 4
    paid = np.asarray(belief(jnp.asarray(X[:, :2]), jnp.asarray(X[:, 2:])))
    total = sum(
        np.interp(X[:, shape.features[0].columns[0]], shape.knots[0], shape.values)
        for shape in found.shapes
    )
    np.testing.assert_allclose(total, (paid - paid.mean()) / paid.std(), atol=0.02)
    plain = Ensemble.create(jax.random.key(0), FAMILY, EnsembleConfig(hidden=(8,)))
    with pytest.raises(ValueError, match='only an ensemble with network "additive"'):
        read_additive(plain, X, FEATURES)


def test_what_is_chosen_is_not_judged_by_the_steps_that_it_was_chosen_by():
    """Of noise nothing is told, however many terms there are to choose from."""
    told = []
    for seed in range(12):
        draw = np.random.default_rng(seed)
        x, paid = draw.normal(size=(160, 8)).astype(np.float32), draw.normal(size=160)
        features = [Feature(f"x{i}", "", (i,)) for i in range(8)]
        told.append(fit_additive(x, paid, features).r2)
    assert np.mean(told) < 0.0
