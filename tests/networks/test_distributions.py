"""Action distributions against NumPy, and against their own samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from metarlhf.networks import Categorical, DiagGaussian, Distribution

LOGITS = jnp.array([[0.3, -1.2, 2.0], [5.0, 5.0, 4.0]])
OTHER_LOGITS = jnp.array([[1.0, 0.0, 0.5], [0.0, -3.0, 2.0]])
MEAN, LOG_STD = jnp.array([[0.2, -0.7], [1.5, 0.0]]), jnp.array([-0.5, 0.4])
OTHER = DiagGaussian(jnp.array([[0.0, 0.1], [1.0, -2.0]]), jnp.array([0.2, -0.3]))


def probabilities(logits):
    p = np.exp(np.asarray(logits, float))
    return p / p.sum(-1, keepdims=True)


def test_categorical_numbers_are_numpys():
    p, q = probabilities(LOGITS), probabilities(OTHER_LOGITS)
    policy = Categorical(LOGITS)
    assert isinstance(policy, Distribution)
    action = jnp.array([2, 0])
    np.testing.assert_allclose(policy.log_prob(action), np.log(p[[0, 1], [2, 0]]), rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), -(p * np.log(p)).sum(-1), rtol=1e-5)
    expected = (p * np.log(p / q)).sum(-1)
    np.testing.assert_allclose(policy.kl(Categorical(OTHER_LOGITS)), expected, rtol=1e-5)
    np.testing.assert_array_equal(policy.mode(), [2, 0])


def test_categorical_is_blind_to_a_shift_of_logits_and_safe_at_large_ones():
    one, other = Categorical(LOGITS), Categorical(LOGITS + 1000.0)
    np.testing.assert_allclose(one.kl(other), 0.0, atol=1e-3)
    sure = Categorical(jnp.array([1e4, 0.0]))
    assert float(sure.log_prob(jnp.array(0))) == 0.0
    assert np.isfinite(float(sure.entropy()))


def test_categorical_samples_as_often_as_it_says():
    noise = Categorical.draw_noise(jax.random.key(0), (20_000, 2), 3)
    drawn = Categorical(LOGITS).sample(noise)
    for row in range(2):
        share = np.bincount(np.asarray(drawn[:, row]), minlength=3) / len(drawn)
        np.testing.assert_allclose(share, probabilities(LOGITS)[row], atol=0.015)


def test_gaussian_numbers_are_scipys():
    policy, std = DiagGaussian(MEAN, LOG_STD), np.exp(LOG_STD)
    action = jnp.array([[0.0, 1.0], [-2.0, 0.3]])
    expected = stats.norm.logpdf(action, MEAN, std).sum(-1)
    np.testing.assert_allclose(policy.log_prob(action), expected, rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), stats.norm.entropy(MEAN, std).sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(policy.mode(), MEAN)


def test_gaussian_kl_is_the_mean_log_ratio_of_its_samples():
    policy = DiagGaussian(MEAN, LOG_STD)
    noise = DiagGaussian.draw_noise(jax.random.key(1), (100_000, 2), 2)
    drawn = policy.sample(noise)
    ratio = policy.log_prob(drawn) - OTHER.log_prob(drawn)
    error = np.asarray(ratio).std(0) / np.sqrt(len(ratio))
    assert (np.abs(policy.kl(OTHER) - ratio.mean(0)) < 5 * error).all()
    np.testing.assert_allclose(policy.kl(policy), 0.0, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_gaussian_samples_have_its_mean_and_spread(index):
    drawn = DiagGaussian(MEAN, LOG_STD).sample(
        DiagGaussian.draw_noise(jax.random.key(2), (50_000, 2), 2)
    )
    np.testing.assert_allclose(drawn[:, index].mean(0), MEAN[index], atol=0.03)
    np.testing.assert_allclose(drawn[:, index].std(0), np.exp(LOG_STD), rtol=0.02)
