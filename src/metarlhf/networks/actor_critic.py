"""Policy and value function, and the agent that holds both."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarlhf.networks.body import Body
from metarlhf.networks.distributions import Distribution
from metarlhf.networks.heads import Head
from metarlhf.networks.mlp import MLP
from metarlhf.networks.moments import Moments
from metarlhf.types import Observation, State


class Actor(eqx.Module):
    """A policy. It carries a state from step to step; one without memory carries nothing.

    Continuous actions are in units of [-1, 1] (see `Box.from_unit`).
    """

    body: Body
    network: MLP
    log_std: Float[Array, " size"] | None
    head: Head = eqx.field(static=True)

    def __init__(
        self,
        body: Body,
        features: int,
        head: Head,
        *,
        key: PRNGKeyArray,
        hidden: Sequence[int] = (64, 64),
        initial_std: float = 1.0,
    ):
        self.body, self.head = body, head
        self.network = MLP((features, *hidden, head.outputs), key=key, final_scale=0.01)
        self.log_std = jnp.full(head.outputs, jnp.log(initial_std), float) if head.has_std else None

    @property
    def context(self) -> Float[Array, " context"]:
        """What it is told about the task."""
        return self.body.context

    def initial_state(self) -> State:
        """The state at the start of an episode."""
        return self.body.initial_state()

    def __call__(self, obs: Observation, state: State = None) -> tuple[Distribution, State]:
        features, state = self.body(obs, state)
        return self.head.make(self.network(features), self.log_std), state

    def over(
        self, obs: Observation, start: State = None, done: Bool[Array, "*batch"] | None = None
    ) -> Distribution:
        """What it says to every step of whole sequences, see `Body.over`."""
        features, _ = self.body.over(obs, start, done)
        return self.head.make(self.network(features), self.log_std)

    def rows_over(
        self, obs: Observation, start: State = None, done: Bool[Array, "*batch"] | None = None
    ) -> Distribution:
        """The same with a row for every step in each leaf, also of what all steps share."""
        features, _ = self.body.over(obs, start, done)
        make = lambda features: self.head.make(self.network(features), self.log_std)
        for _ in features.shape[:-1]:
            make = jax.vmap(make)
        return make(features)

    def draw_noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape size"]:
        """Noise for sampling a batch of actions, see `Distribution.sample`."""
        return self.head.draw_noise(key, shape)


class Critic(eqx.Module):
    """Expected discounted return from an observation."""

    body: Body
    network: MLP

    def __init__(
        self, body: Body, features: int, *, key: PRNGKeyArray, hidden: Sequence[int] = (64, 64)
    ):
        self.body = body
        self.network = MLP((features, *hidden, 1), key=key)

    @property
    def context(self) -> Float[Array, " context"]:
        """What it is told about the task."""
        return self.body.context

    def initial_state(self) -> State:
        """The state at the start of an episode."""
        return self.body.initial_state()

    def __call__(self, obs: Observation, state: State = None) -> Float[Array, "*batch"]:
        return self.network(self.body(obs, state)[0])[..., 0]

    def over(
        self, obs: Observation, start: State = None, done: Bool[Array, "*batch"] | None = None
    ) -> tuple[Float[Array, "*batch"], State]:
        """The value at every step of whole sequences, and what is remembered after each."""
        features, after = self.body.over(obs, start, done)
        return self.network(features)[..., 0], after


class Agent(eqx.Module):
    """What PPO trains: a policy and its value function."""

    actor: Actor
    critic: Critic

    def with_context(self, context: Float[Array, " context"]) -> "Agent":
        """The same agent, told something else about the task."""
        where = lambda a: (a.actor.body.context, a.critic.body.context)
        return eqx.tree_at(where, self, (context, context))

    def with_moments(self, moments: Moments) -> "Agent":
        """The same agent, which normalises what it observes by `moments`."""
        where = lambda a: (a.actor.body.moments, a.critic.body.moments)
        return eqx.tree_at(where, self, (moments, moments))
