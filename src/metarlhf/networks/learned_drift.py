"""A small network that says what a policy pays for moving: LPO's drift (Lu et al. 2022).

Mirror learning: any drift that is nowhere negative, and nothing, with no slope, where old and new
policy agree, keeps the promise that policy improvement makes (proposition 1). PPO's clipping is one
such; this one is meta-trained by evolution, see `metarlhf.meta.search`.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.networks.mlp import orthogonal

NUM_INPUTS = 8
# So much is taken off before what is negative is cut: no slope where the policies agree.
MARGIN = 1e-4


@dataclass(frozen=True)
class DriftShape:
    """What has to be known to read a drift's arrays back."""

    hidden: int = 128
    """Units in its one layer."""


class LearnedDrift(eqx.Module):
    """PPO's own drift and what a network adds to it: 1,152 weights by default, no biases."""

    weight: Float[Array, "inputs hidden"]
    last: Float[Array, " hidden"]
    shape: DriftShape = eqx.field(static=True)

    def __init__(self, shape: DriftShape = DriftShape(), *, key: PRNGKeyArray):
        """The last layer begins small: PPO's clipping, or nearly."""
        keys = jax.random.split(key)
        self.shape = shape
        self.weight = 2.0**0.5 * orthogonal(keys[0], NUM_INPUTS, shape.hidden)
        self.last = 0.01 * orthogonal(keys[1], shape.hidden, 1)[:, 0]

    def __call__(
        self, log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float
    ) -> Float[Array, "*batch"]:
        """relu(relu((r - clip(r)) A) + f - 1e-4), f seeing log r, its square, 1 - r, its square,
        and A times each: Lu et al. 2022, section 5.2.
        """
        ratio = jnp.exp(log_ratio)
        moved = jnp.stack([log_ratio, log_ratio**2, 1.0 - ratio, (1.0 - ratio) ** 2], axis=-1)
        seen = jnp.concatenate([moved, advantage[..., None] * moved], axis=-1)
        learned = jnp.tanh(seen @ self.weight) @ self.last
        beyond = ratio - jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
        return jax.nn.relu(jax.nn.relu(beyond * advantage) + learned - MARGIN)
