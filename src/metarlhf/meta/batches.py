"""Means over tasks, a few tasks at a time: what is between them fits a CPU's caches, or a GPU."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

Data = TypeVar("Data", bound=PyTree)
Found = TypeVar("Found")


def mean_over_tasks(of: Callable[[Data], Found], collected: Data, at_once: int) -> Found:
    """What `of` says of all tasks, where it says means over those that it is given.

    `collected` has leading dimensions (step, task). Nothing of one batch of tasks is kept for the
    next: a gradient is to be taken inside `of`, as one taken of the mean would have the
    intermediate values of all tasks to remember.
    """
    count = jax.tree.leaves(collected)[0].shape[1]
    at_once = min(at_once, count)

    def add(total, first, size):
        few = lambda x: jax.lax.dynamic_slice_in_dim(x, first, size, axis=1)
        found = of(jax.tree.map(few, collected))
        return jax.tree.map(lambda so_far, mean: so_far + size / count * mean, total, found)

    whole = count - count % at_once
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of, collected))
    total, _ = jax.lax.scan(
        lambda total, first: (add(total, first, at_once), None),
        nothing,
        jnp.arange(0, whole, at_once),
    )
    return add(total, whole, count - whole) if whole < count else total
