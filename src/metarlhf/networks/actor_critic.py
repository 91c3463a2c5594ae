"""Policy, value function, and the agent that holds both, for any spaces.

Both go from an observation through a `Body` (normalise, encode, remember, append the context) and
an `MLP`. Where sequences are given they have dimensions (env, time).
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarlhf.envs.base import Spaces
from metarlhf.envs.spaces import Box, ObservationSpace
from metarlhf.networks.config import Cell
from metarlhf.networks.distributions import Distribution, Head, head_of
from metarlhf.networks.layers import Encoder, Memory, Moments, encoder_of, example, orthogonal
from metarlhf.types import Observation, State

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


class Body(eqx.Module):
    """Normalise, encode, remember, and add what is known of the task.

    The *context* is constant over an episode, set by whoever knows or believes something about the
    task, and not trained unless the network is made so; its length may be zero. Moments and memory
    may be absent.
    """

    encoder: Encoder | None
    """None for vectors, which go in as they are."""
    memory: Memory | None
    moments: Moments | None
    context: Float[Array, " context"]
    learns_context: bool = eqx.field(static=True)
    """Whether a gradient reaches the context."""

    def __init__(
        self,
        space: ObservationSpace,
        *,
        key: PRNGKeyArray,
        context_size: int = 0,
        learns_context: bool = False,
        memory: Cell | None = None,
        memory_size: int = 64,
        normalise: bool = False,
    ):
        encoder_key, memory_key = jax.random.split(key)
        self.encoder = None if isinstance(space, Box) else encoder_of(space, key=encoder_key)
        self.context, self.learns_context = jnp.zeros(context_size), learns_context
        self.moments = Moments.of(example(space)) if normalise else None
        self.memory = None
        if memory is not None:
            self.memory = Memory(memory, self._seen(space), memory_size, key=memory_key)

    def features(self, space: ObservationSpace) -> int:
        """How many numbers come out."""
        return self.memory.size if self.memory else self._seen(space)

    def _seen(self, space: ObservationSpace) -> int:
        encoded = jax.eval_shape(self._encode, example(space))
        return encoded.shape[-1] + self.context.shape[0]

    def _encode(self, obs: Observation) -> Float[Array, "*batch features"]:
        return obs if self.encoder is None else self.encoder(obs)

    def initial_state(self) -> State:
        """What is remembered at the start of an episode."""
        return self.memory.initial_state() if self.memory else None

    def __call__(
        self, obs: Observation, state: State = None
    ) -> tuple[Float[Array, "*batch features"], State]:
        obs = obs if self.moments is None else self.moments.normalise(obs)
        encoded = self._encode(obs)
        context = self.context if self.learns_context else jax.lax.stop_gradient(self.context)
        told = jnp.broadcast_to(context, (*encoded.shape[:-1], context.shape[-1]))
        seen = jnp.concatenate([encoded, told], axis=-1)
        return self.memory(seen, state) if self.memory else (seen, state)

    def over(
        self, obs: Observation, start: State = None, done: Bool[Array, "*batch"] | None = None
    ) -> tuple[Float[Array, "*batch features"], State]:
        """Over whole sequences, (env, time), from what was remembered at their `start`.

        An episode's end, `done`, empties the memory. Returns the features of every step, and what
        is remembered after each. Without a memory any leading dimensions do, and no `start`.
        """
        if self.memory is None:
            return self(obs)
        blank = self.initial_state()

        def step(state, inputs):
            obs, done = inputs
            features, after = self(obs, state)
            return forget(done, blank, after), (features, after)

        swap = lambda tree: jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)
        _, found = jax.lax.scan(step, start, swap((obs, done)))
        return swap(found)


def forget(done: Bool[Array, " env"], blank: State, state: State) -> State:
    """`blank` in the environments that are done, the rest of `state` as it is."""
    chosen = lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old)
    return jax.tree.map(chosen, blank, state)


def initial_states(network: Any, num_envs: int) -> State:
    """What a policy or value function remembers where an episode begins, in each environment."""
    wide = lambda x: jnp.broadcast_to(x, (num_envs, *x.shape))
    return jax.tree.map(wide, network.initial_state())


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
    """Expected discounted return from an observation.

    Without a body it is a last layer only, for a policy's torso (see `Agent.value_function`): by
    itself it can judge nothing.
    """

    body: Body | None
    network: MLP

    def __init__(
        self,
        body: Body | None,
        features: int,
        *,
        key: PRNGKeyArray,
        hidden: Sequence[int] = (64, 64),
    ):
        self.body = body
        self.network = MLP((features, *hidden, 1), key=key)

    @property
    def whole_body(self) -> Body:
        """The body.

        Raises:
            ValueError: it has none, as it stands on a policy's torso.
        """
        if self.body is None:
            raise ValueError(
                "this is the last layer of a value function that stands on its policy's torso: "
                "ask agent.value_function in the place of agent.critic"
            )
        return self.body

    @property
    def context(self) -> Float[Array, " context"]:
        """What it is told about the task."""
        return self.whole_body.context

    def initial_state(self) -> State:
        """The state at the start of an episode."""
        return self.whole_body.initial_state()

    def __call__(self, obs: Observation, state: State = None) -> Float[Array, "*batch"]:
        return self.network(self.whole_body(obs, state)[0])[..., 0]

    def over(
        self, obs: Observation, start: State = None, done: Bool[Array, "*batch"] | None = None
    ) -> tuple[Float[Array, "*batch"], State]:
        """The value at every step of whole sequences, and what is remembered after each."""
        features, after = self.whole_body.over(obs, start, done)
        return self.network(features)[..., 0], after


class Agent(eqx.Module):
    """What PPO trains: a policy and its value function, each by itself or both on one torso.

    A torso is everything below the last layers. Where it is shared the policy holds it, and
    `critic` is the value function's last layer alone.
    """

    actor: Actor
    critic: Critic

    @property
    def shares_torso(self) -> bool:
        """Whether policy and value function stand on one torso."""
        return self.critic.body is None

    @property
    def value_function(self) -> Critic:
        """The value function, whole: with the policy's torso below it where that is shared."""
        if not self.shares_torso:
            return self.critic
        network = self.actor.network.ending_in(self.critic.network)
        parts = lambda critic: (critic.body, critic.network)
        return eqx.tree_at(
            parts, self.critic, (self.actor.body, network), is_leaf=lambda x: x is None
        )

    def over(
        self,
        obs: Observation,
        start: State = None,
        critic_start: State = None,
        done: Bool[Array, "*batch"] | None = None,
    ) -> tuple[Distribution, Float[Array, "*batch"]]:
        """What policy and value function say to every step of whole sequences, see `Body.over`.

        A shared torso is gone through once, forwards and backwards; it remembers one thing only,
        so that `critic_start` is `start`.
        """
        if not self.shares_torso:
            distribution = self.actor.over(obs, start, done)
            return distribution, self.critic.over(obs, critic_start, done)[0]
        features, _ = self.actor.body.over(obs, start, done)
        hidden = self.actor.network.hidden(features)
        distribution = self.actor.head.make(self.actor.network.last(hidden), self.actor.log_std)
        return distribution, self.critic.network(hidden)[..., 0]

    def with_context(self, context: Float[Array, " context"]) -> "Agent":
        """The same agent, told something else about the task."""
        return self._with(lambda body: body.context, context)

    def with_moments(self, moments: Moments) -> "Agent":
        """The same agent, which normalises what it observes by `moments`."""
        return self._with(lambda body: body.moments, moments)

    def _with(self, part: Callable[[Body], Any], value: Any) -> "Agent":
        """The same agent with `value` in every body that it has."""
        bodies = lambda a: [body for body in (a.actor.body, a.critic.body) if body is not None]
        where = lambda a: [part(body) for body in bodies(a)]
        return eqx.tree_at(where, self, [value] * len(bodies(self)))


def build_agent(
    key: PRNGKeyArray,
    spaces: Spaces,
    hidden: tuple[int, ...] = (64, 64),
    context_size: int = 0,
    initial_std: float = 1.0,
    *,
    learns_context: bool = False,
    memory: Cell | None = None,
    memory_size: int = 64,
    normalise_obs: bool = False,
    squash: bool = False,
    shared_torso: bool = False,
) -> Agent:
    """An untrained agent whose networks fit `spaces`.

    Both are told a context of so many numbers; one that is learned is the policy's alone.

    Policy and value function have encoders, memories and hidden layers of their own, or with
    `shared_torso` the same ones below a last layer each.
    """
    space = spaces.observation_space

    def body(key: PRNGKeyArray, context_size: int) -> Body:
        return Body(
            space,
            key=key,
            context_size=context_size,
            learns_context=learns_context,
            memory=memory,
            memory_size=memory_size,
            normalise=normalise_obs,
        )

    seen_key, actor_key, judged_key, critic_key = jax.random.split(key, 4)
    seen = body(seen_key, context_size)
    actor = Actor(
        seen,
        seen.features(space),
        head_of(spaces.action_space, squash),
        key=actor_key,
        hidden=hidden,
        initial_std=initial_std,
    )
    if shared_torso:
        width = hidden[-1] if hidden else seen.features(space)
        return Agent(actor, Critic(None, width, key=critic_key, hidden=()))
    judged = body(judged_key, 0 if learns_context else context_size)
    return Agent(actor, Critic(judged, judged.features(space), key=critic_key, hidden=hidden))
