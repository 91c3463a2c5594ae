"""What policy and value function have in common: from an observation to what a network is given."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarlhf.envs.spaces import ObservationSpace
from metarlhf.networks.encoders import Encoder, encoder_of, example
from metarlhf.networks.memory import Cell, Memory
from metarlhf.networks.moments import Moments
from metarlhf.types import Observation, State


class Body(eqx.Module):
    """Normalise, encode, remember, and add what is known of the task.

    The *context* is constant over an episode, set by whoever knows or believes something about the
    task, and not trained unless the network is made so; its length may be zero. Moments and memory
    may be absent.
    """

    encoder: Encoder
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
        self.encoder = encoder_of(space, key=encoder_key)
        self.context, self.learns_context = jnp.zeros(context_size), learns_context
        self.moments = Moments.of(example(space)) if normalise else None
        self.memory = None
        if memory is not None:
            self.memory = Memory(memory, self._seen(space), memory_size, key=memory_key)

    def features(self, space: ObservationSpace) -> int:
        """How many numbers come out."""
        return self.memory.size if self.memory else self._seen(space)

    def _seen(self, space: ObservationSpace) -> int:
        encoded = jax.eval_shape(self.encoder, example(space))
        return encoded.shape[-1] + self.context.shape[0]

    def initial_state(self) -> State:
        """What is remembered at the start of an episode."""
        return self.memory.initial_state() if self.memory else None

    def __call__(
        self, obs: Observation, state: State = None
    ) -> tuple[Float[Array, "*batch features"], State]:
        encoded = self.encoder(self.normalised(obs))
        context = self.context if self.learns_context else jax.lax.stop_gradient(self.context)
        told = jnp.broadcast_to(context, (*encoded.shape[:-1], context.shape[-1]))
        seen = jnp.concatenate([encoded, told], axis=-1)
        return self.memory(seen, state) if self.memory else (seen, state)

    def normalised(self, obs: Observation) -> Observation:
        """To mean 0 and variance 1, where it has moments."""
        return obs if self.moments is None else self.moments.normalise(obs)

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
