"""Action distributions: what a policy says about what to do.

Sampling is a deterministic function of noise, drawn beforehand: a rollout draws the noise of all
its steps at once, which is several times cheaper on a CPU than drawing inside the loop.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray, Shaped

LOG_TWO_PI = 1.8378770664093453


@runtime_checkable
class Distribution(Protocol):
    """Leading dimensions are a batch of independent distributions."""

    def sample(self, noise: Float[Array, "*batch choices"]) -> Shaped[Array, "..."]:
        """The action that `noise` picks; `noise` as drawn by `draw_noise`."""
        ...

    def mode(self) -> Shaped[Array, "..."]:
        """The most likely action."""
        ...

    def log_prob(self, action: Shaped[Array, "..."]) -> Float[Array, "*batch"]:
        """Natural logarithm of the probability (density)."""
        ...

    def entropy(self) -> Float[Array, "*batch"]:
        """In nats."""
        ...

    def kl(self, other: Any) -> Float[Array, "*batch"]:
        """KL(self || other) in nats, in closed form; `other` is of the same kind."""
        ...


class Categorical(eqx.Module):
    """One of n choices; `logits` need not be normalised."""

    logits: Float[Array, "*batch choices"]

    @staticmethod
    def draw_noise(
        key: PRNGKeyArray, shape: tuple[int, ...], size: int
    ) -> Float[Array, "*shape choices"]:
        """Standard Gumbel noise: its argmax with the logits is a sample."""
        return jax.random.gumbel(key, (*shape, size))

    def sample(self, noise: Float[Array, "*batch choices"]) -> Integer[Array, "*batch"]:
        return jnp.argmax(self.logits + noise, axis=-1)

    def mode(self) -> Integer[Array, "*batch"]:
        return jnp.argmax(self.logits, axis=-1)

    def log_prob(self, action: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
        # A one-hot product, as gathers are slow on CPUs, and so are their gradients.
        chosen = jax.nn.one_hot(action, self.logits.shape[-1], dtype=self.logits.dtype)
        return jnp.sum(jax.nn.log_softmax(self.logits) * chosen, axis=-1)

    def entropy(self) -> Float[Array, "*batch"]:
        log_p = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)

    def kl(self, other: "Categorical") -> Float[Array, "*batch"]:
        log_p, log_q = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


class DiagGaussian(eqx.Module):
    """Independent normals, one for each component of the action; `log_std` broadcasts."""

    mean: Float[Array, "*batch size"]
    log_std: Float[Array, "*#batch size"]

    @staticmethod
    def draw_noise(
        key: PRNGKeyArray, shape: tuple[int, ...], size: int
    ) -> Float[Array, "*shape size"]:
        """Standard normal noise."""
        return jax.random.normal(key, (*shape, size))

    def sample(self, noise: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        return self.mean + jnp.exp(self.log_std) * noise

    def mode(self) -> Float[Array, "*batch size"]:
        return self.mean

    def log_prob(self, action: Float[Array, "*batch size"]) -> Float[Array, "*batch"]:
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return jnp.sum(-0.5 * (z**2 + LOG_TWO_PI) - self.log_std, axis=-1)

    def entropy(self) -> Float[Array, "*batch"]:
        per_component = jnp.broadcast_to(self.log_std, self.mean.shape) + 0.5 * (1 + LOG_TWO_PI)
        return jnp.sum(per_component, axis=-1)

    def kl(self, other: "DiagGaussian") -> Float[Array, "*batch"]:
        variance_ratio = jnp.exp(2 * (self.log_std - other.log_std))
        shift = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return 0.5 * jnp.sum(
            variance_ratio + shift**2 - 1 - 2 * (self.log_std - other.log_std), axis=-1
        )
