"""Predicted preferences beside what came of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.reward.calibration import predicted_preferences, reliability
from metarlhf.reward.ensemble import Ensemble
from tests.reward.test_ensemble import CONFIG, FAMILY, KEY, compared


def test_a_diagram_by_hand():
    predicted = jnp.array([0.92, 0.08, 0.9, 0.6, 0.55, 0.99])
    preference = jnp.array([1.0, 0.0, 0.0, 0.5, 1.0, 0.0])
    weight = jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    found = reliability(predicted, preference, weight, bins=2)
    np.testing.assert_allclose(found.confidence, [0.575, 0.9133333], rtol=1e-5)
    np.testing.assert_allclose(found.right, [0.75, 2 / 3], rtol=1e-5)
    np.testing.assert_array_equal(found.weight, [2.0, 3.0])
    np.testing.assert_allclose(found.accuracy, 3.5 / 5, rtol=1e-5)
    np.testing.assert_allclose(found.mean_confidence, (0.6 + 0.55 + 2.74) / 5, rtol=1e-5)
    np.testing.assert_allclose(
        found.expected_error, 0.4 * 0.175 + 0.6 * (0.9133333 - 2 / 3), rtol=1e-4
    )


def test_true_probabilities_have_no_error_and_boasts_have_what_they_add():
    true_key, said_key = jax.random.split(KEY)
    true = jax.random.uniform(true_key, (20_000,))
    said = jax.random.bernoulli(said_key, true).astype(jnp.float32)
    honest = reliability(true, said, jnp.ones(20_000))
    assert float(honest.expected_error) < 0.02
    certain = reliability(jnp.round(true), said, jnp.ones(20_000))
    np.testing.assert_allclose(certain.expected_error, 0.25, atol=0.02)


def test_predictions_are_the_mean_of_the_members():
    comparisons = compared(10, 6)
    ensemble = Ensemble.create(KEY, FAMILY, CONFIG)
    found = predicted_preferences(ensemble, comparisons)
    each = [
        jax.nn.sigmoid(model.clip_sums(comparisons.right) - model.clip_sums(comparisons.left))
        for model in (jax.tree.map(lambda x, i=i: x[i], ensemble.models) for i in range(2))
    ]
    np.testing.assert_allclose(found, sum(each) / 2, rtol=1e-5)


def test_a_diagram_has_bins():
    with pytest.raises(ValueError, match="bins must be 1 or more"):
        reliability(jnp.ones(1), jnp.ones(1), jnp.ones(1), bins=0)
