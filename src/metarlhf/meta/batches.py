"""Batches of tasks: how many they are, the same for each, and means over them."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from metarlhf.devices import number, spread

Data = TypeVar("Data", bound=PyTree)
Found = TypeVar("Found")


def count_of(tasks: PyTree) -> int:
    """How many tasks they are: all leaves have that leading dimension."""
    return jax.tree.leaves(tasks)[0].shape[0]


def for_each(count: int, tree: Data) -> Data:
    """The same, such as an agent, for each of `count` tasks: leaves get that leading dimension."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), tree)


def mean_over_tasks(of: Callable[[Data], Found], collected: Data, at_once: int | None) -> Found:
    """What `of` says of all tasks, where it says means over those that it is given; a few tasks at
    a time on each device, as what is between fits a core's caches then.

    `collected` has leading dimensions (step, task). Nothing of one batch of tasks is kept for the
    next: a gradient is to be taken inside `of`, as one taken of the mean would have the
    intermediate values of all tasks to remember. Each device goes through its own share, and only
    their means meet. `at_once` None is as `MetaRLConfig.tasks_at_once` says.
    """
    shared_out = jax.tree.map(_by_device, collected)
    share = jax.tree.leaves(shared_out)[0].shape[2]
    if at_once is None:
        at_once = 1 if jax.default_backend() == "cpu" else share
    at_once = min(at_once, share)
    each = jax.vmap(of)

    def add(total, first, size):
        few = lambda x: jax.lax.dynamic_slice_in_dim(x, first, size, axis=2)
        found = each(spread(jax.tree.map(few, shared_out)))
        more = lambda so_far, mean: so_far + size / share * mean
        return spread(jax.tree.map(more, total, found))

    whole = share - share % at_once
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(each, shared_out))
    total, _ = jax.lax.scan(
        lambda total, first: (add(total, first, at_once), None),
        spread(nothing),
        jnp.arange(0, whole, at_once),
    )
    total = add(total, whole, share - whole) if whole < share else total
    return jax.tree.map(lambda x: x.mean(0), total)


def _by_device(x: Array) -> Array:
    """(step, task) to (device, step, task of the device), all on one where they do not part."""
    steps, tasks, *rest = x.shape
    devices = number() if tasks % number() == 0 else 1
    return spread(jnp.moveaxis(x.reshape(steps, devices, tasks // devices, *rest), 1, 0))
