"""Whether two pytrees are the same, bit for bit."""

from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

# Where two programs are to come to the same bits, as a user's do: with the emitters that
# `conftest.py` leaves out, each adds and multiplies in an order of its own.
AS_FOR_USERS = (
    {"xla_cpu_use_fusion_emitters": True} if version("jaxlib").startswith("0.10.") else None
)


def plain(leaf):
    """Numbers of a leaf, which may be a random key."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def assert_same(one, other):
    """The same structure and the same bits."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(plain(a), plain(b))


def differ(one, other):
    """Whether any leaf differs."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any(not np.array_equal(plain(a), plain(b)) for a, b in pairs)
