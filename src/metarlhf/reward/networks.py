"""Networks from observation and action to a reward, or to the features that rewards are made of."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import Discrete, Shown
from metarlhf.networks import MLP


class RewardNetwork(eqx.Module):
    """An MLP on observation and action; one output is a reward, several are features of one."""

    network: MLP
    num_actions: int = eqx.field(static=True)
    """For discrete actions, which are fed in one-hot; 0 for continuous ones."""

    def __init__(
        self,
        family: Shown,
        *,
        key: PRNGKeyArray,
        hidden: Sequence[int] = (64, 64),
        outputs: int = 1,
    ):
        space = family.action_space
        self.num_actions = space.size if isinstance(space, Discrete) else 0
        sizes = (family.observation_space.size + space.size, *hidden, outputs)
        self.network = MLP(sizes, key=key)

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch outputs"]:
        if self.num_actions:
            action = jax.nn.one_hot(action, self.num_actions)
        else:
            action = jnp.clip(action, -1.0, 1.0)
        return self.network(jnp.concatenate([obs, action], axis=-1))
