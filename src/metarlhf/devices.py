"""Work that is spread over all devices of this machine, each taking its share of the tasks.

A CPU is one device, however many cores it has, and XLA steps through a loop on one core: most of
meta-training is such a loop. `one_for_each_core` makes every core a device, and many GPUs are many
devices anyway. `on_all` runs a function on them, and `spread` says inside of it what is to be
shared out; alone, on one device, neither does anything.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

import jax
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

Given = ParamSpec("Given")
Found = TypeVar("Found", bound=PyTree)
Spread = TypeVar("Spread", bound=PyTree)

AXIS = "task"


def one_for_each_core() -> None:
    """Make every core that may be used a device, unless `JAX_NUM_CPU_DEVICES` says how many.

    Raises:
        RuntimeError: JAX has computed something already, and it is too late.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        allowed = getattr(os, "sched_getaffinity", None)  # Linux alone says which.
        cores = len(allowed(0)) if allowed else os.cpu_count()
        jax.config.update("jax_num_cpu_devices", cores)


def in_the_foreground() -> None:
    """A CPU computes when it is told to, and nothing meanwhile.

    Begun in the background, a computation is now and then lost, and who asks for it waits for ever
    (https://github.com/jax-ml/jax/issues/25861). To be called before JAX has computed anything.
    """
    with suppress(AttributeError):  # a version of JAX that knows no background
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def on_all(run: Callable[Given, Found], count: int) -> Callable[Given, Found]:
    """`run`, on so many of this machine's devices that each has as many of `count` tasks.

    Its arguments are arrays or trees of them, wherever these are; what it returns is on the first
    device. Results differ in rounding from those of one device. While something around it is traced
    (`jit`, `vmap`, `scan`), it is `run` and no more.
    """
    number = max(n for n in range(1, jax.local_device_count() + 1) if count % n == 0)
    if number == 1:
        return run
    some = jax.local_devices()[:number]
    mesh = jax.make_mesh((number,), (AXIS,), (AxisType.Auto,), devices=some)

    def on_some(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, kwargs))):
            return run(*args, **kwargs)
        args, kwargs = jax.device_put((args, kwargs), NamedSharding(mesh, PartitionSpec()))
        with jax.set_mesh(mesh):
            return jax.device_put(run(*args, **kwargs), some[0])

    return on_some


def number() -> int:
    """How many devices `on_all` has given the function that is being traced."""
    return jax.sharding.get_abstract_mesh().shape.get(AXIS, 1)


def spread(tree: Spread, axis: int = 0) -> Spread:
    """Share out what parts equally along `axis`, which is of tasks, or one for each device."""
    place = PartitionSpec(*[None] * axis, AXIS)

    def of_leaf(x: Array) -> Array:
        if number() == 1 or x.shape[axis] % number():
            return x
        return jax.lax.with_sharding_constraint(x, place)

    return jax.tree.map(of_leaf, tree)
