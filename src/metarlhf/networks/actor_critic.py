"""Policy and value function, and the agent that holds both.

Either may be told what the task is by a *context* vector: constant over an episode, set by whoever
knows or believes something about the task, and never trained. Its length may be zero.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.networks.distributions import Categorical, DiagGaussian, Distribution
from metarlhf.networks.mlp import MLP
from metarlhf.types import State


def _with_context(
    obs: Float[Array, "*batch obs"], context: Float[Array, " context"]
) -> Float[Array, "*batch inputs"]:
    context = jax.lax.stop_gradient(context)
    return jnp.concatenate(
        [obs, jnp.broadcast_to(context, (*obs.shape[:-1], context.shape[-1]))], axis=-1
    )


class Actor(eqx.Module):
    """A policy. It carries a state from step to step; this one, feed-forward, carries nothing.

    Continuous actions are in units of [-1, 1] (see `Box.from_unit`).
    """

    network: MLP
    log_std: Float[Array, " size"] | None
    context: Float[Array, " context"]

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        discrete: bool,
        key: PRNGKeyArray,
        hidden: Sequence[int] = (64, 64),
        context_size: int = 0,
        initial_std: float = 1.0,
    ):
        sizes = (obs_size + context_size, *hidden, action_size)
        self.network = MLP(sizes, key=key, final_scale=0.01)
        self.log_std = None if discrete else jnp.full(action_size, jnp.log(initial_std), float)
        self.context = jnp.zeros(context_size)

    def initial_state(self) -> State:
        """The state at the start of an episode."""
        return None

    def __call__(
        self, obs: Float[Array, "*batch obs"], state: State = None
    ) -> tuple[Distribution, State]:
        output = self.network(_with_context(obs, self.context))
        if self.log_std is None:
            return Categorical(output), state
        return DiagGaussian(output, self.log_std), state

    def draw_noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape size"]:
        """Noise for sampling a batch of actions, see `Distribution.sample`."""
        kind = Categorical if self.log_std is None else DiagGaussian
        return kind.draw_noise(key, shape, self.network.biases[-1].shape[-1])


class Critic(eqx.Module):
    """Expected discounted return from an observation."""

    network: MLP
    context: Float[Array, " context"]

    def __init__(
        self,
        obs_size: int,
        *,
        key: PRNGKeyArray,
        hidden: Sequence[int] = (64, 64),
        context_size: int = 0,
    ):
        self.network = MLP((obs_size + context_size, *hidden, 1), key=key)
        self.context = jnp.zeros(context_size)

    def __call__(self, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch"]:
        return self.network(_with_context(obs, self.context))[..., 0]


class Agent(eqx.Module):
    """What PPO trains: a policy and its value function."""

    actor: Actor
    critic: Critic

    def with_context(self, context: Float[Array, " context"]) -> "Agent":
        """The same agent, told something else about the task."""
        return eqx.tree_at(lambda a: (a.actor.context, a.critic.context), self, (context, context))
