"""Simulated teachers: each one's rule, and what holds for all of them."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metarlhf.feedback import TEACHERS, Teacher
from metarlhf.feedback.teachers import Scale

KEY = jax.random.key(0)
UNIT = Scale(jnp.array(0.0), jnp.array(1.0))
# Whole numbers, so that sums are exact and ties real ties.
clips = hnp.arrays(np.float32, (6, 4), elements=st.integers(-8, 8).map(float))


def asked(teacher, left, right, scale=UNIT, key=KEY):
    preference, weight = teacher.compare(key, jnp.asarray(left), jnp.asarray(right), scale)
    return np.asarray(preference), np.asarray(weight)


def many(teacher, difference, count=4000, key=KEY, mean=0.0):
    """The share of answers for the right of two clips, and of questions answered at all."""
    left = np.tile(np.array([0.0, 0.0], np.float32), (count, 1))
    right = left + np.array([0.0, difference], np.float32)
    scale = Scale(jnp.array(mean), jnp.array(2.0))
    preference, weight = asked(teacher, left, right, scale, key)
    return preference.mean(), weight.mean()


def test_the_oracle_prefers_the_larger_sum_and_never_skips_or_ties():
    left = np.array([[1.0, 2.0], [3.0, 0.0], [-9.0, -9.0]])
    right = np.array([[1.0, 2.5], [0.0, 2.0], [-9.0, -9.5]])
    preference, weight = asked(TEACHERS["oracle"], left, right)
    np.testing.assert_array_equal(preference, [1, 0, 0])
    np.testing.assert_array_equal(weight, [1, 1, 1])


def test_mistakes_flip_one_answer_in_ten():
    share, answered = many(TEACHERS["mistake"], difference=1.0)
    assert answered == 1
    np.testing.assert_allclose(share, 0.9, atol=0.02)


@pytest.mark.parametrize("difference", [-3.0, 0.5, 2.0])
def test_noisy_answers_follow_bradley_terry_on_spreads(difference):
    """One spread is 2 here: a difference of 2 is 1 of them."""
    share, _ = many(TEACHERS["noisy"], difference)
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-difference / 2)), atol=0.025)
    sharper, _ = many(replace(TEACHERS["noisy"], beta=3.0), difference)
    np.testing.assert_allclose(sharper, 1 / (1 + np.exp(-1.5 * difference)), atol=0.025)


@pytest.mark.parametrize(
    ("skip", "best", "answered"),
    [(0.1, -2.8, 0), (0.1, -2.6, 1), (1.0, -0.1, 0), (1.0, 0.1, 1), (0.0, -99.0, 1)],
)
def test_a_question_is_skipped_if_both_clips_are_poor(skip, best, answered):
    """With `skip` of 0.1: below 2.7 spreads under the mean; with 1: below the mean."""
    left, right = np.array([[best, 0.0]]), np.array([[best - 5.0, 0.0]])
    for one, other in ((left, right), (right, left)):
        _, weight = asked(replace(TEACHERS["skip"], skip=skip), one, other)
        assert weight[0] == answered


@pytest.mark.parametrize(
    ("difference", "answer"), [(0.19, 0.5), (0.21, 1.0), (-0.19, 0.5), (-0.21, 0.0)]
)
def test_near_clips_are_called_equal(difference, answer):
    scale = Scale(jnp.array(0.0), jnp.array(2.0))
    preference, _ = asked(TEACHERS["equal"], np.zeros((1, 2)), [[0.0, difference]], scale)
    assert preference[0] == answer


def test_the_myopic_judge_by_the_end():
    """The right clip is better in sum, but by its start: 0.9^3 * 1.2 < 1."""
    left, right = np.array([[0.0, 0.0, 0.0, 1.0]]), np.array([[1.2, 0.0, 0.0, 0.0]])
    assert asked(TEACHERS["oracle"], left, right)[0] == 1
    assert asked(TEACHERS["myopic"], left, right)[0] == 0
    later = np.array([[0.0, 0.0, 1.2, 0.0]])  # 0.9 * 1.2 > 1
    assert asked(TEACHERS["myopic"], left, later)[0] == 1


def test_equal_is_said_of_plain_sums_and_is_never_flipped():
    teacher = Teacher(equal=0.1, myopic=0.5, mistake=1.0)
    left, right = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert asked(teacher, left, right)[0] == 0.5


@settings(max_examples=40, deadline=None)
@given(clips, clips, st.sampled_from(["oracle", "skip", "equal", "myopic"]))
def test_swapping_the_clips_flips_the_answer(left, right, name):
    scale = Scale(jnp.array(2.0), jnp.array(3.0))
    one, one_weight = asked(TEACHERS[name], left, right, scale)
    other, other_weight = asked(TEACHERS[name], right, left, scale)
    recency = TEACHERS[name].myopic ** np.arange(3, -1, -1)
    apart = np.abs(((right - left) * recency).sum(-1)) > 1e-4
    np.testing.assert_array_equal(one[apart], 1 - other[apart])
    np.testing.assert_array_equal(one_weight, other_weight)


@settings(max_examples=40, deadline=None)
@given(clips, clips, st.sampled_from(list(TEACHERS)), st.integers(0, 1000))
def test_answers_are_left_right_or_equal_and_weights_all_or_nothing(left, right, name, seed):
    preference, weight = asked(TEACHERS[name], left, right, key=jax.random.key(seed))
    # Who never errs calls equal what is; who may err, or tells them apart by slips, takes a side.
    may_be_equal = TEACHERS[name].beta == float("inf")
    assert set(preference) <= ({0.0, 0.5, 1.0} if may_be_equal else {0.0, 1.0})
    assert set(weight) <= ({0.0, 1.0} if name == "skip" else {1.0})


def test_a_teachers_scale_is_that_of_the_clips_it_has_seen():
    rewards = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    scale = Scale.of(jnp.asarray(rewards))
    np.testing.assert_allclose(scale.mean, rewards.sum(1).mean(), rtol=1e-4)
    np.testing.assert_allclose(scale.spread, rewards.sum(1).std(), rtol=1e-4)


def test_room_for_clips_is_no_part_of_the_scale():
    rewards = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) - 3.0
    padded = np.concatenate([rewards, np.zeros((30, 7), np.float32)])
    seen = Scale.of(jnp.asarray(padded), jnp.arange(80) < 50)
    for one, other in zip(seen, Scale.of(jnp.asarray(rewards)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float32, (20, 3), elements=st.floats(-3, 3, width=32)),
    st.integers(2, 12),
    st.sampled_from([0.0, 0.3]),
)
def test_marks_are_whole_within_the_scale_and_grow_with_the_reward(rewards, levels, mistake):
    teacher = Teacher(levels=levels, mistake=mistake)
    marks = np.asarray(teacher.rate(KEY, jnp.asarray(rewards), (-2.0, 2.0)))
    assert set(marks) <= set(range(1, levels + 1))
    if not mistake:
        ordered = marks[np.argsort(rewards.mean(1), kind="stable")]
        assert (np.diff(ordered) >= 0).all()


def test_marks_share_the_scale_evenly():
    means = jnp.array([-1.0, -0.99, -0.91, -0.89, -0.5, -0.01, 0.0, 0.5])[:, None]
    marks = Teacher().rate(KEY, means, (-1.0, 0.0))
    np.testing.assert_array_equal(marks, [1, 1, 1, 2, 6, 10, 10, 10])


def test_a_slip_of_a_mark_is_one_level():
    teacher, clip = Teacher(mistake=0.4), jnp.full((4000, 2), -0.45)
    marks = np.asarray(teacher.rate(KEY, clip, (-1.0, 0.0)))
    share = [(marks == mark).mean() for mark in (5, 6, 7)]
    np.testing.assert_allclose(share, [0.2, 0.6, 0.2], atol=0.02)


def test_an_oracle_calls_equal_what_is_exactly_alike():
    """Or each would be "left", however they are shown."""
    alike = np.zeros((1, 3))
    preference, weight = asked(TEACHERS["oracle"], alike, alike)
    assert (preference[0], weight[0]) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", 0.0),
        ("mistake", 1.5),
        ("skip", -0.1),
        ("equal", -1.0),
        ("myopic", 2.0),
        ("levels", 1),
    ],
)
def test_a_teacher_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        Teacher(**{name: value})
