"""Learned and true rewards as functions of the same inputs, and what those inputs are called."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from metarlhf.envs.base import Box, Discrete, Shown, TaskFamily
from metarlhf.reward import Belief
from metarlhf.reward.cost import CostModel
from metarlhf.reward.networks import encode, num_actions_of
from metarlhf.types import Task


@runtime_checkable
class StepReward(Protocol):
    """What a step is paid; any leading dimensions. Continuous actions are in [-1, 1]."""

    def __call__(
        self,
        obs: Float[Array, "*batch obs"],
        action: Shaped[Array, "..."],
        next_obs: Float[Array, "*batch obs"],
    ) -> Float[Array, "*batch"]:
        """The reward of each step."""
        ...


class BeliefReward(eqx.Module):
    """What a belief pays on average, or how likely a step must never be by a cost model, doubt
    counted in; neither looks at what followed.
    """

    belief: Belief | CostModel

    def __call__(
        self,
        obs: Float[Array, "*batch obs"],
        action: Shaped[Array, "..."],
        next_obs: Float[Array, "*batch obs"],
    ) -> Float[Array, "*batch"]:
        return self.belief(obs, action)


class TaskReward(eqx.Module):
    """What a task pays: for comparison, never for learning."""

    task: Task
    family: TaskFamily = eqx.field(static=True)

    def __call__(
        self,
        obs: Float[Array, "*batch obs"],
        action: Shaped[Array, "..."],
        next_obs: Float[Array, "*batch obs"],
    ) -> Float[Array, "*batch"]:
        batch, size = obs.shape[:-1], obs.shape[-1]
        if num_actions_of(self.family) and jnp.issubdtype(action.dtype, jnp.floating):
            action = jnp.argmax(action, axis=-1)
        action = self.family.action_space.from_unit(action)
        action = action.reshape(-1, *action.shape[len(batch) :])
        paid = jax.vmap(self.family.reward, (0, 0, 0, None))(
            obs.reshape(-1, size), action, next_obs.reshape(-1, size), self.task
        )
        return paid.reshape(batch)


Pays = Callable[[Float[Array, "*batch inputs"]], Float[Array, "*batch"]]
"""What is paid for inputs; a tree of arrays that can be called."""


class OfInputs(eqx.Module):
    """A reward as a function of what reward networks are fed (see `reward.networks.encode`).

    A reward that depends on what followed is asked what it pays for being where one is.
    """

    reward: StepReward
    family: Shown = eqx.field(static=True)

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch"]:
        size = self.family.observation_space.size
        obs, action = x[..., :size], x[..., size:]
        return self.reward(obs, action, obs)


def inputs_of(
    family: Shown, obs: Shaped[np.ndarray, "..."], action: Shaped[np.ndarray, "..."]
) -> Float[np.ndarray, "row inputs"]:
    """Steps as reward networks are fed them, a row each, whatever their leading dimensions."""
    obs, done = obs.reshape(-1, obs.shape[-1]), family.action_space
    action = action.reshape(-1) if isinstance(done, Discrete) else action.reshape(-1, done.size)
    return np.asarray(encode(jnp.asarray(obs), jnp.asarray(action), num_actions_of(family)))


class Feature(NamedTuple):
    """Something that a reward may pay for: an observation, or an action."""

    name: str
    unit: str
    columns: tuple[int, ...]
    """Where it stands among the inputs; a choice between actions has a column for each."""
    options: tuple[str, ...] = ()
    """Names of the choices."""
    offset: float = 0.0
    scale: float = 1.0
    """In its unit it is offset + scale times the input."""

    @property
    def label(self) -> str:
        """Its name, with its unit where it has one."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def shown(self, value: np.ndarray) -> np.ndarray:
        """Inputs in its unit."""
        return self.offset + self.scale * np.asarray(value)


def features_of(family: Shown) -> tuple[Feature, ...]:
    """All features of the family's steps, in the order of the inputs."""
    seen, done = family.observation_space, family.action_space
    found = [
        Feature(name, unit, (i,))
        for i, (name, unit) in enumerate(zip(seen.names, _units(seen), strict=True))
    ]
    if not isinstance(done, Box):
        columns = tuple(range(seen.size, seen.size + done.size))
        return (*found, Feature("action", "", columns, done.names))
    bounds = zip(*(np.broadcast_to(bound, (done.size,)) for bound in done[1:3]), strict=True)
    for i, (name, unit, (low, high)) in enumerate(
        zip(done.names, _units(done), bounds, strict=True)
    ):
        middle, half = float(low + high) / 2, float(high - low) / 2
        found.append(Feature(name, unit, (seen.size + i,), (), middle, half))
    return tuple(found)


def across_first(pair: tuple[Feature, Feature]) -> tuple[Feature, Feature]:
    """The two with the one to the right first that is the more horizontal: x before y."""
    one, other = pair
    return (other, one) if _upright(one) > _upright(other) else pair


def _upright(feature: Feature) -> int:
    """-1 for what is called x, 1 for what is called y."""
    words = feature.name.lower().split()
    return ("y" in words) - ("x" in words)


def _units(space: Box) -> tuple[str, ...]:
    return space.units or ("",) * space.size
