"""Action distributions: what a policy says about what to do.

Sampling is a deterministic function of noise, drawn beforehand: a rollout draws the noise of all
its steps at once, which is several times cheaper on a CPU than drawing inside the loop.

From an action space to the distribution that a policy's last layer speaks of.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray, Shaped

from metarlhf.envs.spaces import ActionSpace, Discrete, MultiBinary, MultiDiscrete

LOG_TWO_PI = 1.8378770664093453


@runtime_checkable
class Distribution(Protocol):
    """Leading dimensions are a batch of independent distributions."""

    def sample(self, noise: Float[Array, "*batch choices"]) -> Shaped[Array, "..."]:
        """The action that `noise` picks; `noise` as `Head.draw_noise` draws it."""
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

    def sample(self, noise: Float[Array, "*batch choices"]) -> Integer[Array, "*batch"]:
        """`noise` is standard Gumbel: its argmax with the logits is a sample."""
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


class MultiCategorical(eqx.Module):
    """Several independent choices: the i-th among `sizes[i]`, its logits after those before it."""

    logits: Float[Array, "*batch options"]
    sizes: tuple[int, ...] = eqx.field(static=True)

    def sample(self, noise: Float[Array, "*batch options"]) -> Integer[Array, "*batch parts"]:
        parts = zip(self._parts(), _split(noise, self.sizes), strict=True)
        return jnp.stack([part.sample(own) for part, own in parts], axis=-1)

    def mode(self) -> Integer[Array, "*batch parts"]:
        return jnp.stack([part.mode() for part in self._parts()], axis=-1)

    def log_prob(self, action: Integer[Array, "*batch parts"]) -> Float[Array, "*batch"]:
        return _total(part.log_prob(action[..., i]) for i, part in enumerate(self._parts()))

    def entropy(self) -> Float[Array, "*batch"]:
        return _total(part.entropy() for part in self._parts())

    def kl(self, other: "MultiCategorical") -> Float[Array, "*batch"]:
        pairs = zip(self._parts(), other._parts(), strict=True)
        return _total(one.kl(another) for one, another in pairs)

    def _parts(self) -> list[Categorical]:
        return [Categorical(part) for part in _split(self.logits, self.sizes)]


class Bernoulli(eqx.Module):
    """Independent switches, on with probability sigmoid(logit)."""

    logits: Float[Array, "*batch size"]

    def sample(self, noise: Float[Array, "*batch size"]) -> Integer[Array, "*batch size"]:
        """`noise` is standard logistic: the logit exceeds its negative with that probability."""
        return (self.logits + noise > 0).astype(jnp.int32)

    def mode(self) -> Integer[Array, "*batch size"]:
        return (self.logits > 0).astype(jnp.int32)

    def log_prob(self, action: Integer[Array, "*batch size"]) -> Float[Array, "*batch"]:
        return jnp.sum(jax.nn.log_sigmoid(jnp.where(action == 1, self.logits, -self.logits)), -1)

    def entropy(self) -> Float[Array, "*batch"]:
        return -self._expected(jax.nn.log_sigmoid(self.logits), jax.nn.log_sigmoid(-self.logits))

    def kl(self, other: "Bernoulli") -> Float[Array, "*batch"]:
        on = jax.nn.log_sigmoid(self.logits) - jax.nn.log_sigmoid(other.logits)
        off = jax.nn.log_sigmoid(-self.logits) - jax.nn.log_sigmoid(-other.logits)
        return self._expected(on, off)

    def _expected(self, on: Array, off: Array) -> Float[Array, "*batch"]:
        p = jax.nn.sigmoid(self.logits)
        return jnp.sum(p * on + (1 - p) * off, axis=-1)


class SquashedGaussian(eqx.Module):
    """tanh of a normal: actions in (-1, 1), with the exact density (Haarnoja et al. 2018, app. C).

    The density is computed from the action itself, so actions are kept 1e-6 off the ends, where
    float32 could not tell which normal number they came from.
    """

    before: DiagGaussian

    def sample(self, noise: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        return _inside(jnp.tanh(self.before.sample(noise)))

    def mode(self) -> Float[Array, "*batch size"]:
        """The median: what the normal's mode becomes. The density may peak elsewhere."""
        return _inside(jnp.tanh(self.before.mode()))

    def log_prob(self, action: Float[Array, "*batch size"]) -> Float[Array, "*batch"]:
        action = _inside(action)
        stretch = jnp.sum(jnp.log1p(-(action**2)), axis=-1)
        return self.before.log_prob(jnp.arctanh(action)) - stretch

    def entropy(self) -> Float[Array, "*batch"]:
        """The normal's, and the expected log-derivative of tanh by Gauss-Hermite quadrature."""
        std = jnp.exp(self.before.log_std)[..., None]
        u = self.before.mean[..., None] + std * jnp.asarray(_NODES)
        # log(1 - tanh(u)^2) without its cancellation.
        log_slope = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))
        return self.before.entropy() + jnp.sum(log_slope @ jnp.asarray(_WEIGHTS), axis=-1)

    def kl(self, other: "SquashedGaussian") -> Float[Array, "*batch"]:
        """That of the normals: a bijection changes no divergence."""
        return self.before.kl(other.before)


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
_NODES, _WEIGHTS = np.float32(_NODES), np.float32(_WEIGHTS / _WEIGHTS.sum())


def _inside(action: Array) -> Array:
    return jnp.clip(action, -1 + 1e-6, 1 - 1e-6)


def _split(x: Array, sizes: tuple[int, ...]) -> list[Array]:
    return jnp.split(x, np.cumsum(sizes)[:-1].tolist(), axis=-1)


def _total(parts: Iterable[Array]) -> Array:
    return jnp.sum(jnp.stack(list(parts)), axis=0)


class Head(NamedTuple):
    """How outputs of a network become a distribution over actions; hashable, holds no array."""

    outputs: int
    """How many numbers the network has to give."""
    has_std: bool
    """Whether there is a standard deviation too, a parameter of its own."""
    make: Callable[[Array, Array | None], Distribution]
    """From outputs and the logarithm of the standard deviation, if there is one."""
    noise: Callable[[PRNGKeyArray, tuple[int, ...]], Array]
    """Draws the noise that `Distribution.sample` takes."""

    def draw_noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape size"]:
        """Noise for a batch of actions."""
        return self.noise(key, (*shape, self.outputs))


def head_of(space: ActionSpace, squash: bool = False) -> Head:
    """The head that fits `space`. `squash`: continuous actions end at the bounds by a tanh."""
    if isinstance(space, Discrete):
        return Head(space.size, False, _categorical, jax.random.gumbel)
    if isinstance(space, MultiDiscrete):
        return Head(space.size, False, _MultiCategorical(space.sizes), jax.random.gumbel)
    if isinstance(space, MultiBinary):
        return Head(space.size, False, _bernoulli, jax.random.logistic)
    return Head(space.size, True, _squashed if squash else _gaussian, jax.random.normal)


def _categorical(outputs: Array, log_std: Array | None) -> Distribution:
    return Categorical(outputs)


class _MultiCategorical(NamedTuple):
    sizes: tuple[int, ...]

    def __call__(self, outputs: Array, log_std: Array | None) -> Distribution:
        return MultiCategorical(outputs, self.sizes)


def _bernoulli(outputs: Array, log_std: Array | None) -> Distribution:
    return Bernoulli(outputs)


def _gaussian(outputs: Array, log_std: Array | None) -> DiagGaussian:
    assert log_std is not None
    return DiagGaussian(outputs, log_std)


def _squashed(outputs: Array, log_std: Array | None) -> Distribution:
    return SquashedGaussian(_gaussian(outputs, log_std))
