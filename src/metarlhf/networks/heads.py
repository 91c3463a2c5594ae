"""From an action space to the distribution that a policy's last layer speaks of."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.spaces import ActionSpace, Discrete, MultiBinary, MultiDiscrete
from metarlhf.networks.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    SquashedGaussian,
)


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
