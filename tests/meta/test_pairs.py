"""Which pairs meta-training asks about."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.meta.tasks import draw_pairs, pick

# Two tasks that see thirty clips differently.
PREDICTED = jax.random.normal(jax.random.key(0), (2, 30))


@pytest.fixture(scope="module")
def pairs():
    return jax.jit(draw_pairs, static_argnums=2)(jax.random.key(1), PREDICTED, 400)


def test_values_are_picked_task_by_task():
    values = jnp.arange(12.0).reshape(2, 3, 2)
    found = pick(values, jnp.array([[2, 0], [1, 1]]))
    np.testing.assert_array_equal(found, [[[4, 5], [0, 1]], [[8, 9], [8, 9]]])


def test_half_of_the_pairs_look_alike_to_the_task_that_is_asked(pairs):
    gap = np.abs(pick(PREDICTED, pairs.left) - pick(PREDICTED, pairs.right))
    hard = np.asarray(pairs.hard)
    assert hard.sum() == 200
    # The closest of eight: a fraction of what a random pair differs by.
    assert (gap[:, hard].mean(1) < 0.3 * gap[:, ~hard].mean(1)).all()


def test_a_clip_is_not_its_own_rival(pairs):
    same = np.asarray(pairs.left == pairs.right)
    assert not same[:, pairs.hard].any()
    assert same.mean() < 0.04  # one in thirty by chance, in the other half


def test_every_clip_is_asked_about(pairs):
    for side in (pairs.left, pairs.right):
        assert all(len(np.unique(row)) == 30 for row in side)
