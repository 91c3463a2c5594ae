"""Which pairs of clips to be asked about while meta-training, where answers are plenty.

Random pairs are mostly easy. A reward that has seen only those gives soft predictions, and a
posterior with soft predictions asks where the reward is inaccurate, not where the task is unknown.
So half of the pairs are such that look alike by the reward's present predictions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

RIVALS = 8


class Pairs(NamedTuple):
    """Indices of clips, and which of the pairs were picked for looking alike."""

    left: Integer[Array, "task pair"]
    right: Integer[Array, "task pair"]
    hard: Bool[Array, " pair"]


def pick(
    values: Float[Array, "task clip *value"], index: Integer[Array, "task *pair"]
) -> Float[Array, "task ..."]:
    """For every task the values of its clips at `index`."""
    return jax.vmap(lambda values, index: values[index])(values, index)


def random_pairs(
    key: PRNGKeyArray, shape: tuple[int, ...], num_clips: int
) -> tuple[Integer[Array, "*shape"], Integer[Array, "*shape"]]:
    """Pairs of two different clips, each as likely as any other."""
    left_key, right_key = jax.random.split(key)
    left = jax.random.randint(left_key, shape, 0, num_clips)
    apart = jax.random.randint(right_key, shape, 1, num_clips)
    return left, (left + apart) % num_clips


def draw_pairs(key: PRNGKeyArray, predicted: Float[Array, "task clip"], count: int) -> Pairs:
    """`count` pairs for every task: a random clip, and another one or the most alike of eight."""
    num_tasks, num_clips = predicted.shape
    left_key, right_key = jax.random.split(key)
    left = jax.random.randint(left_key, (num_tasks, count), 0, num_clips)
    # From 1 on: a clip is as like itself as can be, and no question.
    apart = jax.random.randint(right_key, (num_tasks, count, RIVALS), 1, num_clips)
    rivals = (left[..., None] + apart) % num_clips
    gap = jnp.abs(pick(predicted, rivals) - pick(predicted, left)[..., None])
    closest = jnp.take_along_axis(rivals, jnp.argmin(gap, -1)[..., None], -1)[..., 0]
    hard = jnp.arange(count) % 2 == 0
    return Pairs(left, jnp.where(hard, closest, rivals[..., 0]), hard)
