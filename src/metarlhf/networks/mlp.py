"""The multi-layer perceptron that everything here is made of."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# A singular value of a hundred-thousandth of the largest still gets to 1.
POLAR_ITERATIONS = 40

Activation = Callable[[Array], Array]


def orthogonal(key: PRNGKeyArray, fan_in: int, fan_out: int) -> Float[Array, "fan_in fan_out"]:
    """A uniformly random matrix with orthonormal columns, or rows where those are fewer.

    The orthogonal factor of a normal matrix, by Newton's iteration for the polar decomposition: it
    takes nothing but products. Many QR decompositions in one compiled program, as a batch of fresh
    agents needs, can hang XLA's CPU runtime: each waits on the thread pool that it runs in.
    """
    x = jax.random.normal(key, (max(fan_in, fan_out), min(fan_in, fan_out)))
    # Every singular value in (0, sqrt(3)) goes to 1; small ones grow by a half in each iteration.
    x = x / jnp.linalg.norm(x)
    step = lambda _, x: 1.5 * x - 0.5 * x @ (x.T @ x)
    x = jax.lax.fori_loop(0, POLAR_ITERATIONS, step, x)
    return x if fan_in >= fan_out else x.T


class MLP(eqx.Module):
    """Fully connected layers with orthogonal initialisation.

    Unlike `equinox.nn.MLP` it takes any leading dimensions and has arrays as its only leaves, so
    that it is a carry of `scan` and an argument of `grad` without being taken apart.
    """

    weights: tuple[Float[Array, "fan_in fan_out"], ...]
    biases: tuple[Float[Array, " fan_out"], ...]
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        key: PRNGKeyArray,
        activation: Activation = jnp.tanh,
        final_scale: float = 1.0,
    ):
        """`sizes` holds the widths of input, hidden layers and output.

        Hidden weights are orthogonal with gain sqrt(2), the last layer's with gain `final_scale`;
        biases start at zero (Andrychowicz et al. 2021: a small last layer of the policy matters).
        """
        keys = jax.random.split(key, len(sizes) - 1)
        gains = [2.0**0.5] * (len(sizes) - 2) + [final_scale]
        self.weights = tuple(
            gain * orthogonal(k, fan_in, fan_out)
            for k, gain, fan_in, fan_out in zip(keys, gains, sizes, sizes[1:], strict=False)
        )
        self.biases = tuple(jnp.zeros(fan_out) for fan_out in sizes[1:])
        self.activation = activation

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return self.last(self.hidden(x))

    def hidden(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch units"]:
        """What the last layer is given."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = self.activation(x @ weight + bias)
        return x

    def last(self, x: Float[Array, "*batch units"]) -> Float[Array, "*batch outputs"]:
        """The last layer alone."""
        # The barrier keeps XLA from folding the transpose away, and so the weight's gradient a
        # product of (outputs, rows) by (rows, units). The other way round, with few outputs, it
        # takes seven times as long on a CPU, which is a tenth of a whole update's time.
        weight = jax.lax.optimization_barrier(self.weights[-1].T)
        return jnp.einsum("...i,oi->...o", x, weight) + self.biases[-1]

    def ending_in(self, other: "MLP") -> "MLP":
        """These hidden layers, with all layers of `other` in the place of the last."""
        layers = lambda network: (network.weights, network.biases)
        joined = (self.weights[:-1] + other.weights, self.biases[:-1] + other.biases)
        return eqx.tree_at(layers, self, joined)
