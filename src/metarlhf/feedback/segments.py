"""Cutting trajectories into clips that a person can judge."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from metarlhf.envs.base import Discrete, Shown
from metarlhf.types import Comparison, Segment, Trajectory


def blank(family: Shown, count: int) -> Segment:
    """Room for `count` clips of the family."""
    shape = (count, family.segment_length)
    space = family.action_space
    if isinstance(space, Discrete):
        action = jnp.zeros(shape, jnp.int32)
    else:
        action = jnp.zeros((*shape, space.size))
    return Segment(jnp.zeros((*shape, family.observation_space.size)), action, jnp.zeros(shape))


def cut(trajectory: Trajectory, length: int, stride: int) -> tuple[Segment, Bool[Array, " clip"]]:
    """Every clip of `length` steps that starts at a multiple of `stride`.

    `trajectory` has dimensions (env, time). Returns the clips of all environments in one leading
    dimension, and which of them lie within a single episode: only those may be shown.
    """
    num_steps = trajectory.reward.shape[1]
    if length > num_steps:
        raise ValueError(f"clips of {length} steps cannot be cut from {num_steps} steps")
    starts = jnp.arange(0, num_steps - length + 1, stride)
    steps = starts[:, None] + jnp.arange(length)
    take = lambda x: x[:, steps].reshape(-1, length, *x.shape[2:])
    clips = jax.tree.map(take, Segment(trajectory.obs, trajectory.action, trajectory.task_reward))
    # An episode may end with a clip's last step, not before.
    within_one = ~take(trajectory.done)[:, :-1].any(axis=1)
    return clips, within_one


def among(clips: Segment, others: Segment, weight: Float[Array, " other"]) -> Bool[Array, " clip"]:
    """Which clips are among those of `others` that weigh something."""
    return jnp.any(_same(clips, others) & (weight > 0), axis=-1)


def compared(left: Segment, right: Segment, asked: Comparison) -> Bool[Array, " pair"]:
    """Which pairs are among what was `asked`, either way round."""
    again = _same(left, asked.left) & _same(right, asked.right)
    again |= _same(left, asked.right) & _same(right, asked.left)
    return jnp.any(again & (asked.weight > 0), axis=-1)


def _same(clips: Segment, others: Segment) -> Bool[Array, "clip other"]:
    """Which clip is which: told by how they begin and end."""
    ends = lambda segment: segment.obs[:, jnp.array([0, -1])]
    return jnp.all(ends(clips)[:, None] == ends(others), axis=(-2, -1))
