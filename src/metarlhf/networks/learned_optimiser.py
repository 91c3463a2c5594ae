"""A small recurrent network that says how each parameter moves: OPEN (Goldie et al. 2024).

All parameters share the network, and each has a memory of its own. What it learned is not a step
size but how to use gradients over a whole training, and where to explore. It is meta-trained by
evolution, see `metarlhf.meta.search`.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.networks.optimiser_features import NUM_FEATURES


@dataclass(frozen=True)
class OptimiserShape:
    """What has to be known to read an optimiser's arrays back."""

    memory: int = 8
    """Numbers that are remembered of each parameter."""
    hidden: int = 16
    """Units in each of the two layers after that."""


class LearnedOptimiser(eqx.Module):
    """A GRU, two layers with layer normalisation, three outputs: 1,211 weights by default."""

    cell: eqx.nn.GRUCell
    layers: tuple[eqx.nn.Linear, eqx.nn.Linear, eqx.nn.Linear]
    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    shape: OptimiserShape = eqx.field(static=True)

    def __init__(self, shape: OptimiserShape = OptimiserShape(), *, key: PRNGKeyArray):
        keys = jax.random.split(key, 4)
        self.shape = shape
        self.cell = eqx.nn.GRUCell(NUM_FEATURES, shape.memory, key=keys[0])
        self.layers = (
            eqx.nn.Linear(shape.memory, shape.hidden, key=keys[1]),
            eqx.nn.Linear(shape.hidden, shape.hidden, key=keys[2]),
            eqx.nn.Linear(shape.hidden, 3, key=keys[3]),
        )
        self.norms = (
            eqx.nn.LayerNorm(shape.hidden, eps=1e-6),
            eqx.nn.LayerNorm(shape.hidden, eps=1e-6),
        )

    def __call__(
        self, features: Float[Array, " features"], memory: Float[Array, " memory"]
    ) -> tuple[Float[Array, " 3"], Float[Array, " memory"]]:
        """What it says of one parameter, and what it remembers of it."""
        memory = self.cell(features, memory)
        hidden = memory
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            hidden = jax.nn.relu(norm(layer(hidden)))
        return self.layers[-1](hidden), memory

    def silenced(self) -> "LearnedOptimiser":
        """The same, but that it says zero of every parameter; it can learn to speak."""
        last = lambda network: (network.layers[-1].weight, network.layers[-1].bias)
        return eqx.tree_at(last, self, replace_fn=jnp.zeros_like)
