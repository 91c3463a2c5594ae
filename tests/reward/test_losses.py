"""Likelihoods of answers in closed form, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.reward.likelihood import answer_log_likelihood, rating_log_likelihood, weighted_mean


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


def test_marks_are_levels_of_a_logistic_error_and_sometimes_anything():
    """Against the plain difference of two distribution functions."""
    predicted = np.array([[0.3], [0.62], [0.95], [0.0]])
    mark, scale = np.arange(1.0, 6.0), 0.12
    upper = np.where(mark == 5, 1.0, sigmoid((mark / 5 - predicted) / scale))
    lower = np.where(mark == 1, 0.0, sigmoid(((mark - 1) / 5 - predicted) / scale))
    result = rating_log_likelihood(
        jnp.asarray(np.tile(predicted, (1, 5)), jnp.float32), jnp.asarray(mark, jnp.float32),
        jnp.log(scale), 5,
    )  # fmt: skip
    np.testing.assert_allclose(np.exp(result), 0.98 * (upper - lower) + 0.02 / 5, rtol=1e-4)


@pytest.mark.parametrize("log_std", [-6.0, -2.0, 1.0])
def test_the_chances_of_all_marks_sum_to_one(log_std):
    predicted = jnp.tile(jnp.linspace(-1.0, 2.0, 31)[:, None], (1, 10))
    result = rating_log_likelihood(predicted, jnp.arange(1.0, 11.0), jnp.array(log_std), 10)
    np.testing.assert_allclose(jnp.exp(result).sum(1), 1.0, rtol=1e-4)


def test_beyond_the_scale_is_no_error():
    std = jnp.log(0.02)
    far = rating_log_likelihood(jnp.array([3.0, -2.0]), jnp.array([10.0, 1.0]), std, 10)
    np.testing.assert_allclose(jnp.exp(far), 0.98 + 0.002, rtol=1e-4)


@pytest.mark.parametrize("mark", [1.0, 4.0, 10.0])
def test_marks_have_finite_gradients_however_wrong_the_prediction(mark):
    slope = jax.grad(rating_log_likelihood, argnums=(0, 2))
    for predicted in (-30.0, 0.05, 0.35, 0.95, 30.0):
        for log_std in (-5.0, 0.0):
            found = slope(jnp.array(predicted), jnp.array(mark), jnp.array(log_std), 10)
            assert np.isfinite(found).all()


def test_means_are_over_answers_that_were_given():
    values = jnp.array([1.0, 2.0, 100.0])
    np.testing.assert_allclose(weighted_mean(values, jnp.array([1.0, 1.0, 0.0])), 1.5)
    assert float(weighted_mean(values, jnp.zeros(3))) == 0.0
