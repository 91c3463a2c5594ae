"""The multi-layer perceptron that everything here is made of."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Activation = Callable[[Array], Array]


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
            gain * jax.nn.initializers.orthogonal()(k, (fan_in, fan_out))
            for k, gain, fan_in, fan_out in zip(keys, gains, sizes, sizes[1:], strict=False)
        )
        self.biases = tuple(jnp.zeros(fan_out) for fan_out in sizes[1:])
        self.activation = activation

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = self.activation(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]
