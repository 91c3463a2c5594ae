"""Clips of earlier tasks, judged as another task's teacher would."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.envs.base import Discrete
from metarlhf.feedback import Library, blank, cut
from metarlhf.networks import build_agent
from metarlhf.sampling.compiled import collect, reset

FAMILIES = ("navigation", "navigation/pearl2019", "reacher", "pendulum", "cartpole")
KEY = jax.random.key(0)


@cache
def recorded(name):
    """Clips of an untrained policy in one task, its library and another task.

    The policy acts beyond the range too; of the clips those are left out that span two episodes.
    """
    family = envs.make(name)
    length = family.segment_length

    @jax.jit
    def record():
        own, other = jax.vmap(family.sample)(jax.random.split(KEY, 2))
        actor = build_agent(KEY, family, (4,), initial_std=2.0).actor
        start = reset(KEY, family, own, actor, 3)
        played = collect(jax.random.key(1), family, own, actor, start, 40)[1]
        clips, within_one = cut(played, length, 3)
        followed = cut(eqx.tree_at(lambda t: t.obs, played, played.next_obs), length, 3)[0].obs
        library = Library(clips, followed)[jnp.argsort(~within_one)[:6]]
        return (
            own,
            other,
            clips,
            library,
            library.seen_under(family, own),
            library.seen_under(family, other),
        )

    return family, record()


@pytest.mark.parametrize("name", FAMILIES)
def test_seen_under_the_task_they_were_recorded_in_clips_are_paid_what_was_recorded(name):
    _, (_, _, _, library, seen, _) = recorded(name)
    assert len(library) == 6
    np.testing.assert_allclose(seen.task_reward, library.clips.task_reward, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_seen_under_another_task_clips_are_paid_what_that_task_pays_step_by_step(name):
    family, (_, other, _, library, _, seen) = recorded(name)
    assert seen.task_reward.shape == (6, family.segment_length)
    for i, t in [(0, 0), (3, 2), (5, family.segment_length - 1)]:
        action = family.action_space.from_unit(library.clips.action[i, t])
        paid = family.reward(library.clips.obs[i, t], action, library.next_obs[i, t], other)
        np.testing.assert_allclose(seen.task_reward[i, t], paid, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(seen.obs, library.clips.obs)
    np.testing.assert_array_equal(seen.action, library.clips.action)


@pytest.mark.parametrize("name", FAMILIES)
def test_room_for_clips_is_shaped_as_clips_are(name):
    family, (_, _, clips, *_) = recorded(name)
    room = blank(family, clips.obs.shape[0])
    for one, other in zip(jax.tree.leaves(room), jax.tree.leaves(clips), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert not np.any(one)
    assert (room.action.ndim == 2) == isinstance(family.action_space, Discrete)


def test_an_empty_library_is_one_too():
    family = envs.make("pendulum")
    library = Library.blank(family, 0)
    assert len(library) == 0
    assert library.seen_under(family, jnp.array(0.5)).task_reward.shape == (0, 10)


def test_clips_are_taken_with_what_followed_them():
    library = Library.blank(envs.make("navigation"), 5)
    numbered = jax.tree.map(lambda x: x + jnp.arange(5.0).reshape(-1, *[1] * (x.ndim - 1)), library)
    some = numbered[jnp.array([4, 1])]
    assert len(some) == 2
    np.testing.assert_array_equal(some.next_obs[:, 0, 0], [4, 1])
    np.testing.assert_array_equal(some.clips.obs[:, 0, 0], [4, 1])
