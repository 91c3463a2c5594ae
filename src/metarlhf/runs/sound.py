"""Whether a state is still made of numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf import files


def first_nan(state: Any) -> str | None:
    """The name of the first array of `state` that holds a NaN; None if all is well.

    Infinity is no fault: it is what an empty bound or a weight of nothing is written as.
    """
    found = np.asarray(_nans(_numbers(state)))
    names = [
        name
        for name, leaf in zip(files.leaf_names(state), jax.tree.leaves(state), strict=True)
        if _is_float(leaf)
    ]
    return names[int(found.argmax())] if found.any() else None


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _numbers(state: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(state) if _is_float(leaf)]


@jax.jit
def _nans(leaves: list[Any]):
    return jnp.stack([jnp.isnan(leaf).any() for leaf in leaves]) if leaves else jnp.zeros(1, bool)
