"""Likelihoods of answers in closed form, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from metarlhf.reward.losses import answer_log_likelihood, rating_log_likelihood, weighted_mean


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("preference", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("logit", [-2.0, 0.0, 0.7])
def test_bradley_terry_and_its_gradient(logit, preference):
    """The gradient of the log-likelihood is the answer minus its predicted probability."""
    value, slope = jax.value_and_grad(answer_log_likelihood)(
        jnp.array(logit), jnp.array(preference)
    )
    p = sigmoid(logit)
    np.testing.assert_allclose(
        value, preference * np.log(p) + (1 - preference) * np.log(1 - p), rtol=1e-5
    )
    np.testing.assert_allclose(slope, preference - p, rtol=1e-4, atol=1e-6)


def test_a_surprise_is_finite_and_pulls_with_full_force():
    value, slope = jax.value_and_grad(answer_log_likelihood)(jnp.array(-200.0), jnp.array(1.0))
    np.testing.assert_allclose([value, slope], [-200.0, 1.0])


def test_who_may_lapse_is_doubted_only_so_far():
    lapse = 0.1
    likelihood = lambda logit: answer_log_likelihood(jnp.array(logit), jnp.array(1.0), lapse)
    np.testing.assert_allclose(likelihood(0.7), np.log(0.9 * sigmoid(0.7) + 0.05), rtol=1e-5)
    np.testing.assert_allclose(likelihood(-50.0), np.log(0.05), rtol=1e-4)
    np.testing.assert_allclose(likelihood(50.0), np.log(0.95), rtol=1e-4)


def test_marks_are_normal_around_the_predicted_place_on_the_scale():
    predicted, mark = jnp.array([0.3, 0.62, 0.95]), jnp.array([2.0, 9.0, 10.0])
    result = rating_log_likelihood(predicted, mark, jnp.log(0.2), 10)
    expected = stats.norm.logpdf((np.asarray(mark) - 0.5) / 10, predicted, 0.2)
    np.testing.assert_allclose(result, expected + 0.5 * np.log(2 * np.pi), rtol=1e-4)


def test_beyond_the_scale_is_no_error():
    std = jnp.log(0.1)
    far = rating_log_likelihood(jnp.array([3.0, -2.0]), jnp.array([10.0, 1.0]), std, 10)
    np.testing.assert_allclose(far, -np.log(0.1), rtol=1e-5)


def test_means_are_over_answers_that_were_given():
    values = jnp.array([1.0, 2.0, 100.0])
    np.testing.assert_allclose(weighted_mean(values, jnp.array([1.0, 1.0, 0.0])), 1.5)
    assert float(weighted_mean(values, jnp.zeros(3))) == 0.0
