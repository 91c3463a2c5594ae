"""Cutting clips, scoring questions about them, and keeping the answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metarlhf import envs
from metarlhf.feedback import Library, cut, empty, record_comparison, record_rating
from metarlhf.feedback.queries import (
    binary_entropy,
    disagreement,
    entropy,
    information_gain,
    rating_information_gain,
    score_pairs,
)
from metarlhf.types import Segment, Trajectory

probabilities = hnp.arrays(np.float32, (5, 7), elements=st.floats(0, 1, width=32))
weights = hnp.arrays(np.float32, (5,), elements=st.floats(0.125, 1, width=32))


def played(done):
    """A trajectory whose observation tells environment and step."""
    num_envs, num_steps = done.shape
    number = jnp.arange(float(num_envs * num_steps)).reshape(num_envs, num_steps)
    obs = number[..., None]
    ends = jnp.asarray(done)
    return Trajectory(obs, obs, number, obs, number, number, ends, jnp.zeros_like(ends))


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(bool, (3, 12), elements=st.booleans()), st.sampled_from([(1, 1), (4, 2), (5, 4)]))
def test_clips_are_consecutive_and_those_to_show_lie_in_one_episode(done, sizes):
    length, stride = sizes
    clips, showable = jax.jit(cut, static_argnums=(1, 2))(played(done), length, stride)
    starts = np.arange(0, 12 - length + 1, stride)
    assert clips.obs.shape == (3 * len(starts), length, 1)
    np.testing.assert_array_equal(np.diff(clips.obs[..., 0], axis=1), 1)
    for clip, shown in zip(np.asarray(clips.obs[..., 0], int), showable, strict=True):
        inside = done.ravel()[clip[:-1]]
        assert bool(shown) == (not inside.any())
    np.testing.assert_array_equal(clips.task_reward, clips.obs[..., 0])


def test_clips_longer_than_the_trajectory_are_refused():
    with pytest.raises(ValueError, match="clips of 13 steps cannot be cut from 12 steps"):
        cut(played(np.zeros((1, 12), bool)), 13, 1)


@settings(max_examples=40, deadline=None)
@given(probabilities, weights)
def test_information_gain_is_at_most_a_bit_and_never_negative(probability, weight):
    weight = jnp.asarray(weight / weight.sum())
    gain = np.asarray(information_gain(jnp.asarray(probability), weight))
    assert (gain >= -1e-5).all()
    assert (gain <= np.log(2) + 1e-5).all()
    assert (gain <= entropy(jnp.asarray(probability), weight) + 1e-5).all()


def test_nothing_is_gained_where_all_agree_and_a_bit_where_they_are_sure_and_split():
    weight = jnp.array([0.25, 0.25, 0.5])
    agree = jnp.tile(jnp.array([[0.5, 0.9]]), (3, 1))
    np.testing.assert_allclose(information_gain(agree, weight), 0.0, atol=1e-6)
    np.testing.assert_allclose(disagreement(agree, weight), 0.0, atol=1e-6)
    np.testing.assert_allclose(entropy(agree, weight)[0], np.log(2), rtol=1e-5)
    split = jnp.array([[0.0], [0.0], [1.0]])
    np.testing.assert_allclose(information_gain(split, weight), np.log(2), rtol=1e-4)
    np.testing.assert_allclose(disagreement(split, weight), 0.5)


def test_scores_are_those_of_numpy():
    rng = np.random.default_rng(0)
    p, w = rng.uniform(0.01, 0.99, (4, 6)), rng.dirichlet(np.ones(4))
    coin = lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p))
    probability, weight = jnp.asarray(p, jnp.float32), jnp.asarray(w, jnp.float32)
    np.testing.assert_allclose(binary_entropy(probability), coin(p), rtol=1e-4)
    np.testing.assert_allclose(
        information_gain(probability, weight), coin(w @ p) - w @ coin(p), rtol=1e-3, atol=1e-6
    )
    spread = np.sqrt(w @ (p - w @ p) ** 2)
    for strategy, expected in [("entropy", coin(w @ p)), ("disagreement", spread)]:
        score = score_pairs(jax.random.key(0), probability, weight, strategy)
        np.testing.assert_allclose(score, expected, rtol=1e-3)
    chance = score_pairs(jax.random.key(0), probability, weight, "uniform")
    assert len(np.unique(chance)) == 6


def test_the_gain_of_a_mark_is_its_mutual_information_with_the_member():
    rng = np.random.default_rng(0)
    given, weight = rng.dirichlet(np.ones(4), (3, 5)), rng.dirichlet(np.ones(3))
    # joint[member, clip, mark], against the product of its margins.
    joint = weight[:, None, None] * given
    product = weight[:, None, None] * joint.sum(0)
    expected = (joint * np.log(joint / product)).sum((0, 2))
    gain = rating_information_gain(
        jnp.asarray(np.log(given).transpose(2, 0, 1), jnp.float32), jnp.asarray(weight, jnp.float32)
    )
    np.testing.assert_allclose(gain, expected, rtol=1e-3, atol=1e-6)


def clip_of(value):
    return Segment(jnp.full((3, 2), value), jnp.full((3, 1), value), jnp.full(3, value))


def test_answers_are_kept_in_their_rows_and_beyond_the_last_row_not_at_all():
    store = empty(clip_of(0.0), comparisons=2, ratings=1)
    assert float(store.count) == 0
    one, none = jnp.array(1.0), jnp.array(0.0)
    store = record_comparison(store, 0, clip_of(1.0), clip_of(2.0), one, one)
    store = record_comparison(store, 1, clip_of(3.0), clip_of(4.0), none, none)
    assert float(store.count) == 1  # the second was skipped
    store = record_comparison(store, 1, clip_of(5.0), clip_of(6.0), jnp.array(0.5), one)
    store = record_rating(store, 0, clip_of(7.0), jnp.array(9.0), 10, one)
    assert float(store.count) == 3
    full = record_comparison(store, 2, clip_of(8.0), clip_of(8.0), one, one)
    full = record_rating(full, 1, clip_of(8.0), jnp.array(1.0), 10, one)
    jax.tree.map(np.testing.assert_array_equal, full, store)
    np.testing.assert_array_equal(store.comparisons.left.obs[:, 0, 0], [1, 5])
    np.testing.assert_array_equal(store.comparisons.right.action[:, 0, 0], [2, 6])
    np.testing.assert_array_equal(store.comparisons.preference, [1, 0.5])
    np.testing.assert_array_equal(store.ratings.value, [9])


def test_a_library_is_judged_by_the_task_at_hand():
    family = envs.make("navigation")
    obs = jax.random.normal(jax.random.key(0), (4, family.segment_length, 2))
    clips = Segment(obs, 0.0 * obs, jnp.zeros(obs.shape[:2]))
    library, goal = Library(clips, obs + 0.05), jnp.array([0.3, -0.1])
    seen = library.seen_under(family, goal)
    expected = -np.linalg.norm(np.asarray(obs) + 0.05 - np.array([0.3, -0.1]), axis=-1)
    np.testing.assert_allclose(seen.task_reward, expected, rtol=1e-4)
    np.testing.assert_array_equal(seen.obs, obs)
    assert len(Library.blank(family, 0)) == 0
