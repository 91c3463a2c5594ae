"""Networks from observation and action to a reward, or to the features that rewards are made of."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import Discrete, Shown
from metarlhf.networks import MLP


def encode(
    obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."], num_actions: int
) -> Float[Array, "*batch inputs"]:
    """What reward networks are fed: the observation, then the action.

    Discrete actions, of which there are `num_actions`, are fed in one-hot; where they come as
    shares of each [*batch, num_actions] they are taken as they are. Continuous ones (`num_actions`
    0) are clipped to [-1, 1], as policies act.
    """
    if not num_actions:
        action = jnp.clip(action, -1.0, 1.0)
    elif not jnp.issubdtype(action.dtype, jnp.floating):
        action = jax.nn.one_hot(action, num_actions)
    return jnp.concatenate([obs, action], axis=-1)


def num_actions_of(family: Shown) -> int:
    """How many discrete actions there are; 0 for continuous ones."""
    space = family.action_space
    return space.size if isinstance(space, Discrete) else 0


class RewardNetwork(eqx.Module):
    """An MLP on observation and action; one output is a reward, several are features of one."""

    network: MLP
    num_actions: int = eqx.field(static=True)
    """As `encode` takes it."""

    def __init__(
        self,
        family: Shown,
        *,
        key: PRNGKeyArray,
        hidden: Sequence[int] = (64, 64),
        outputs: int = 1,
    ):
        self.num_actions = num_actions_of(family)
        inputs = family.observation_space.size + family.action_space.size
        self.network = MLP((inputs, *hidden, outputs), key=key)

    @property
    def layers(self) -> MLP:
        """All that is learned."""
        return self.network

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch outputs"]:
        return self.network(encode(obs, action, self.num_actions))


class AdditiveNetwork(eqx.Module):
    """A sum of functions of one input each, every one a small MLP: its curves are the reward.

    A neural additive model (Agarwal et al. 2021, "Neural Additive Models: Interpretable Machine
    Learning with Neural Nets"). What two inputs pay for only together, it cannot say.
    """

    curves: MLP
    """Leaves lead with `input`."""
    num_actions: int = eqx.field(static=True)
    """As `encode` takes it."""

    def __init__(self, family: Shown, *, key: PRNGKeyArray, hidden: Sequence[int]):
        self.num_actions = num_actions_of(family)
        inputs = family.observation_space.size + family.action_space.size
        build = lambda key: _curve(key, hidden)
        self.curves = jax.vmap(build)(jax.random.split(key, inputs))

    @property
    def layers(self) -> MLP:
        """All that is learned."""
        return self.curves

    def parts(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """What each input of `encode` pays by itself."""
        one = lambda curve, value: curve(value[..., None])[..., 0]
        return jax.vmap(one, (0, -1), -1)(self.curves, x)

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch 1"]:
        return self.parts(encode(obs, action, self.num_actions)).sum(-1, keepdims=True)


def _curve(key: PRNGKeyArray, hidden: Sequence[int]) -> MLP:
    """A function of one number whose first units bend in different places of [-1, 1].

    Begun as other networks are, all would be nearly straight there: to learn where a curve turns
    would take far longer.
    """
    key, slope_key, place_key = jax.random.split(key, 3)
    curve = MLP((1, *hidden, 1), key=key)
    slope = 3.0 * jax.random.normal(slope_key, curve.weights[0].shape)
    place = jax.random.uniform(place_key, curve.biases[0].shape, minval=-1.0, maxval=1.0)
    first = lambda m: (m.weights[0], m.biases[0])
    return eqx.tree_at(first, curve, (slope, -slope[0] * place))
