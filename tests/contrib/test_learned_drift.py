"""A learned drift: a drift at all, PPO's clipping to begin with, and what plain NumPy says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.contrib.learned import DriftShape, LearnedDrift, load_learned, publish_learned
from metarlhf.ppo.objectives import drifting_surrogate
from metarlhf.ppo.update import clipped_surrogate

DRIFT = LearnedDrift(key=jax.random.key(0))
STRONG = jax.tree.map(lambda x: 30.0 * x, DRIFT)
CLIP = 0.2


def test_it_is_of_the_published_size():
    assert sum(leaf.size for leaf in jax.tree.leaves(DRIFT)) == 8 * 128 + 128


@pytest.mark.parametrize("advantage", [-2.0, 0.0, 3.0])
def test_where_policies_agree_it_takes_nothing_and_has_no_slope(advantage):
    at = lambda log_ratio: STRONG(log_ratio, jnp.array(advantage), CLIP)
    value, slope = jax.value_and_grad(at)(jnp.zeros(()))
    assert value == slope == 0.0
    # Nor near it, on either side: the network alone has a slope there.
    for near in (1e-6, -1e-6):
        assert jax.value_and_grad(at)(jnp.array(near)) == (0.0, 0.0)


def test_it_is_nowhere_negative_and_says_what_numpy_says():
    log_ratio = np.linspace(-1.5, 1.5, 41)
    weight, last = np.asarray(STRONG.weight, float), np.asarray(STRONG.last, float)
    for advantage in (-1.5, 0.3, 2.0):
        found = STRONG(jnp.asarray(log_ratio), jnp.full(41, advantage), CLIP)
        ratio = np.exp(log_ratio)
        moved = np.stack([log_ratio, log_ratio**2, 1 - ratio, (1 - ratio) ** 2], -1)
        learned = np.tanh(np.concatenate([moved, advantage * moved], -1) @ weight) @ last
        clipped = np.maximum((ratio - np.clip(ratio, 1 - CLIP, 1 + CLIP)) * advantage, 0)
        expected = np.maximum(clipped + learned - 1e-4, 0)
        assert (expected > 0.01).any()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5)


def test_without_its_network_it_is_clipping():
    nothing = jax.tree.map(jnp.zeros_like, DRIFT)
    log_ratio = jax.random.normal(jax.random.key(1), (200,)) * 0.4
    advantage = jax.random.normal(jax.random.key(2), (200,))
    np.testing.assert_allclose(
        drifting_surrogate(log_ratio, advantage, CLIP, nothing),
        clipped_surrogate(log_ratio, advantage, CLIP),
        atol=2e-4,
    )


def test_it_is_read_as_written(tmp_path):
    small = LearnedDrift(DriftShape(hidden=16), key=jax.random.key(3))
    publish_learned(tmp_path, small, {"families": ["reacher"]})
    found = load_learned(tmp_path)
    assert isinstance(found, LearnedDrift)
    assert found.shape == small.shape
    jax.tree.map(np.testing.assert_array_equal, found, small)
