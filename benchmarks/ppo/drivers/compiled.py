"""Timing of compiled training, the same for every peer on JAX."""

import time
from collections.abc import Callable
from typing import Any

import jax


def timed(train: Callable[[Any], Any], start: Any) -> tuple[Any, float, float]:
    """Train twice from `start`: the result, seconds of the second call, and how much longer the
    first one took, which compiles.
    """
    seconds = []
    end = None
    for _ in range(2):
        begin = time.perf_counter()
        end = jax.block_until_ready(train(start))
        seconds.append(time.perf_counter() - begin)
    first, second = seconds
    return end, second, first - second


def count(tree: Any) -> int:
    """How many numbers are in a tree's arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
