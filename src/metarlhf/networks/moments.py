"""Running mean and variance of what is observed: normalised observations, and nothing trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from metarlhf.types import Observation


class Moments(eqx.Module):
    """Of each number in a vector, over all that was seen; images have none and pass as they are."""

    count: Float[Array, ""]
    mean_variance: PyTree[Float[Array, "2 ..."]]
    """For each vector of an observation its mean and, below it, its variance; None for images."""

    @staticmethod
    def of(like: Observation) -> "Moments":
        """Nothing seen yet: mean 0 and variance 1, for observations like this one."""
        is_vector = lambda x: x.ndim < 2 and jnp.issubdtype(x.dtype, jnp.floating)
        blank = lambda x: jnp.stack([jnp.zeros_like(x), jnp.ones_like(x)]) if is_vector(x) else None
        return Moments(jnp.zeros((), jnp.float32), jax.tree.map(blank, like))

    def update(self, obs: Observation) -> "Moments":
        """With a batch more, of any leading dimensions: Chan, Golub and LeVeque 1983, eq. 1.5."""
        added = [
            x.size / old[0].size
            for old, x in zip(_leaves(self.mean_variance), jax.tree.leaves(obs), strict=True)
            if old is not None
        ]
        new = added[0] if added else 0.0
        total = self.count + new

        def one(old, x):
            if old is None:
                return None
            x = x.reshape(-1, *old.shape[1:])
            delta = x.mean(0) - old[0]
            spread = old[1] * self.count + x.var(0) * new + delta**2 * self.count * new / total
            return jnp.stack([old[0] + delta * new / total, spread / total])

        return Moments(total, _map(one, self.mean_variance, obs))

    def normalise(self, obs: Observation, most: float = 10.0) -> Observation:
        """To mean 0 and standard deviation 1, clipped to +-`most`. No gradient passes."""

        def one(old, x):
            if old is None:
                return x
            scaled = (x - old[0]) / jnp.sqrt(old[1] + 1e-8)
            return jax.lax.stop_gradient(jnp.clip(scaled, -most, most))

        return _map(one, self.mean_variance, obs)


def _is_none(x) -> bool:
    return x is None


def _map(function, moments, obs):
    return jax.tree.map(function, moments, obs, is_leaf=_is_none)


def _leaves(moments):
    return jax.tree.leaves(moments, is_leaf=_is_none)
