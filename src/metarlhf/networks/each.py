"""What acts in a batch of environments: one policy in all of them, or each in its own."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarlhf.networks.actor_critic import Actor
from metarlhf.networks.distributions import Distribution
from metarlhf.types import Observation, State


@runtime_checkable
class Policy(Protocol):
    """What a rollout asks of whoever acts; see `Actor`."""

    def initial_state(self) -> State:
        """The state at the start of an episode."""
        ...

    def __call__(self, obs: Observation, state: State = None) -> tuple[Distribution, State]:
        """What it says to a batch of observations, and what it remembers."""
        ...

    def over(
        self, obs: Observation, start: State = None, done: Bool[Array, "*batch"] | None = None
    ) -> Distribution:
        """What it says to every step of whole sequences."""
        ...

    def draw_noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape size"]:
        """Noise for sampling a batch of actions."""
        ...


class Each(eqx.Module):
    """Many policies as one: environments come in as many equal parts, each for its own policy."""

    actors: Actor
    """Leaves have a leading dimension `policy`."""

    @property
    def _first(self) -> Actor:
        return jax.tree.map(lambda x: x[0], self.actors)

    def initial_state(self) -> State:
        """The state at the start of an episode."""
        return self._first.initial_state()

    def __call__(self, obs: Observation, state: State = None) -> tuple[Distribution, State]:
        # A row for every environment, also of what a policy says alike to all.
        rows = jax.vmap(lambda actor, obs, state: actor(obs, state), (None, 0, 0))
        return self._joined(jax.vmap(rows)(self.actors, *self._parted((obs, state))))

    def over(
        self, obs: Observation, start: State = None, done: Bool[Array, "*batch"] | None = None
    ) -> Distribution:
        """What each says to every step of its sequences, (env, time)."""
        rows = jax.vmap(lambda actor, obs, start, done: actor.rows_over(obs, start, done))
        return self._joined(rows(self.actors, *self._parted((obs, start, done))))

    def draw_noise(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape size"]:
        """Noise for sampling a batch of actions."""
        return self._first.draw_noise(key, shape)

    def _parted(self, tree: Any) -> Any:
        count = jax.tree.leaves(self.actors)[0].shape[0]
        return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), tree)

    def _joined(self, tree: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
