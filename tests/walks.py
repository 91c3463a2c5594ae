"""Clips of walking on a plane: all that a reward needs to learn what a goal is."""

import jax
import jax.numpy as jnp

from metarlhf.feedback import Library


def walks(key, family, count):
    """Clips of walking straight on from anywhere: where they lead is what differs."""
    start_key, move_key = jax.random.split(key)
    start = jax.random.uniform(start_key, (count, 1, 2), minval=-0.7, maxval=0.7)
    action = jax.random.uniform(move_key, (count, 1, 2), minval=-1.0, maxval=1.0)
    steps = jnp.arange(family.segment_length + 1.0)[None, :, None]
    path = start + 0.1 * action * steps
    clips = Library.blank(family, count).clips
    action = jnp.broadcast_to(action, clips.action.shape)
    clips = type(clips)(path[:, :-1], action, clips.task_reward)
    return Library(clips, path[:, 1:])
