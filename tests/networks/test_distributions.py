"""Action distributions against NumPy, and against their own samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from metarlhf.envs import Box, Discrete, MultiBinary, MultiDiscrete
from metarlhf.networks import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    SquashedGaussian,
    head_of,
)

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
    noise = jax.random.gumbel(jax.random.key(0), (20_000, 2, 3))
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
    noise = jax.random.normal(jax.random.key(1), (100_000, 2, 2))
    drawn = policy.sample(noise)
    ratio = policy.log_prob(drawn) - OTHER.log_prob(drawn)
    error = np.asarray(ratio).std(0) / np.sqrt(len(ratio))
    assert (np.abs(policy.kl(OTHER) - ratio.mean(0)) < 5 * error).all()
    np.testing.assert_allclose(policy.kl(policy), 0.0, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_gaussian_samples_have_its_mean_and_spread(index):
    drawn = DiagGaussian(MEAN, LOG_STD).sample(jax.random.normal(jax.random.key(2), (50_000, 2, 2)))
    np.testing.assert_allclose(drawn[:, index].mean(0), MEAN[index], atol=0.03)
    np.testing.assert_allclose(drawn[:, index].std(0), np.exp(LOG_STD), rtol=0.02)


def test_several_choices_are_as_likely_as_each_together():
    logits = jnp.concatenate([LOGITS, OTHER_LOGITS[:, :2]], axis=-1)
    policy, other = MultiCategorical(logits, (3, 2)), MultiCategorical(logits * 0.5, (3, 2))
    parts = [Categorical(LOGITS), Categorical(OTHER_LOGITS[:, :2])]
    action = jnp.array([[2, 1], [0, 0]])
    expected = sum(part.log_prob(action[:, i]) for i, part in enumerate(parts))
    np.testing.assert_allclose(policy.log_prob(action), expected, rtol=1e-6)
    entropy = sum(part.entropy() for part in parts)
    np.testing.assert_allclose(policy.entropy(), entropy, rtol=1e-6)
    kl = sum(part.kl(Categorical(part.logits * 0.5)) for part in parts)
    np.testing.assert_allclose(policy.kl(other), kl, rtol=1e-5)
    np.testing.assert_array_equal(policy.mode(), [[2, 0], [0, 0]])


def test_switches_are_scipys_bernoulli():
    policy, other = Bernoulli(LOGITS), Bernoulli(OTHER_LOGITS)
    p, q = (1 / (1 + np.exp(-np.asarray(x, float))) for x in (LOGITS, OTHER_LOGITS))
    action = jnp.array([[1, 0, 1], [0, 1, 0]])
    expected = stats.bernoulli.logpmf(action, p).sum(-1)
    np.testing.assert_allclose(policy.log_prob(action), expected, rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), stats.bernoulli.entropy(p).sum(-1), rtol=1e-4)
    kl = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(-1)
    np.testing.assert_allclose(policy.kl(other), kl, rtol=1e-4)
    certain = Bernoulli(jnp.array([200.0, -200.0]))
    assert float(certain.log_prob(jnp.array([1, 0]))) == 0.0
    assert np.isfinite(float(certain.entropy()))


def test_a_squashed_density_is_that_of_the_change_of_variables():
    policy = SquashedGaussian(DiagGaussian(MEAN, LOG_STD))
    action = np.array([[0.3, -0.9], [0.999, 0.0]])
    u = np.arctanh(action)
    expected = stats.norm.logpdf(u, MEAN, np.exp(LOG_STD)) - np.log1p(-(action**2))
    found = policy.log_prob(jnp.asarray(action, jnp.float32))
    np.testing.assert_allclose(found, expected.sum(-1), rtol=2e-4, atol=2e-4)


def test_a_squashed_density_integrates_to_one_and_gives_its_entropy():
    policy = SquashedGaussian(DiagGaussian(jnp.array([0.7]), jnp.array([-0.3])))
    edges = np.tanh(np.linspace(-6, 6, 40_001))
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    log_p = np.asarray(jax.vmap(policy.log_prob)(jnp.asarray(middle, jnp.float32)[:, None]), float)
    np.testing.assert_allclose((np.exp(log_p) * width).sum(), 1.0, atol=1e-3)
    entropy = -(np.exp(log_p) * log_p * width).sum()
    np.testing.assert_allclose(policy.entropy(), entropy, atol=2e-3)


def test_squashed_actions_at_their_bounds_have_finite_numbers():
    wild = SquashedGaussian(DiagGaussian(jnp.array([30.0]), jnp.array([0.0])))
    action = wild.sample(jnp.array([0.0]))
    assert float(action[0]) < 1.0
    gradient = jax.grad(
        lambda mean: SquashedGaussian(DiagGaussian(mean, jnp.zeros(1))).log_prob(action)
    )(jnp.array([30.0]))
    assert np.isfinite(float(wild.log_prob(action)))
    assert np.isfinite(gradient).all()
    assert np.isfinite(float(wild.entropy()))


@pytest.mark.parametrize(
    ("space", "kind", "shape"),
    [
        (Discrete(3, ("a", "b", "c")), Categorical, ()),
        (MultiDiscrete((3, 2), ("a", "b")), MultiCategorical, (2,)),
        (MultiBinary(4, ("a", "b", "c", "d")), Bernoulli, (4,)),
        (Box(2, -1.0, (1.0, 3.0), ("a", "b")), DiagGaussian, (2,)),
    ],
)
def test_every_space_has_its_distribution_and_samples_as_often_as_it_says(space, kind, shape):
    head = head_of(space)
    assert head == head_of(space)
    outputs = jnp.linspace(-1.0, 1.0, head.outputs)
    policy = head.make(outputs, jnp.zeros(head.outputs) if head.has_std else None)
    assert isinstance(policy, kind)
    assert isinstance(policy, Distribution)
    drawn = jax.vmap(policy.sample)(head.draw_noise(jax.random.key(0), (20_000,)))
    assert drawn.shape == (20_000, *shape)
    # The mean log-probability of samples is minus the entropy.
    likely = jax.vmap(policy.log_prob)(drawn)
    np.testing.assert_allclose(likely.mean(), -policy.entropy(), atol=0.03)


def test_a_head_squashes_where_it_is_asked_to():
    head = head_of(Box(1, -1.0, 1.0, ("a",)), squash=True)
    assert isinstance(head.make(jnp.zeros(1), jnp.zeros(1)), SquashedGaussian)
