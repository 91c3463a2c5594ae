"""The pool of clips that meta-training asks its teacher about, renewed as the policy learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from metarlhf.envs.base import TaskFamily
from metarlhf.feedback import Library, cut
from metarlhf.types import Trajectory


def draw_clips(
    key: PRNGKeyArray, family: TaskFamily, trajectory: Trajectory, count: int
) -> Library:
    """Random clips of the episodes of many tasks, dimensions (task, episode, time)."""
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectory)
    stride = max(1, family.segment_length // 2)
    clips, within_one = cut(flat, family.segment_length, stride)
    followed = eqx.tree_at(lambda t: t.obs, flat, flat.next_obs)
    next_obs = cut(followed, family.segment_length, stride)[0].obs
    logits = jnp.where(within_one, 0.0, -jnp.inf)
    index = jax.random.categorical(key, logits, shape=(count,))
    return Library(clips, next_obs)[index]


def put(key: PRNGKeyArray, pool: Library, new: Library) -> Library:
    """The pool with `new` clips in place of as many random old ones."""
    place = jax.random.choice(key, len(pool), (len(new),), replace=False)
    return jax.tree.map(lambda rows, row: rows.at[place].set(row), pool, new)
