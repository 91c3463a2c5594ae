"""Whether two pytrees are the same, bit for bit or but for rounding."""

import jax
import jax.numpy as jnp
import numpy as np


def plain(leaf):
    """Numbers of a leaf, which may be a random key."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def assert_same(one, other):
    """The same structure and the same bits."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(plain(a), plain(b))


def assert_near(one, other, rtol=1e-5, atol=1e-6):
    """The same structure and, but for rounding, the same numbers.

    Of what two programs have computed: in which order each adds and multiplies is XLA's affair.
    """
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(plain(a), plain(b), rtol=rtol, atol=atol)


def differ(one, other):
    """Whether any leaf differs."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any(not np.array_equal(plain(a), plain(b)) for a, b in pairs)
