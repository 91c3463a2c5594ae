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
    """A reward of steps with any leading dimensions. Continuous actions are in [-1, 1]."""

    def __call__(
        self,
        obs: Float[Array, "*batch obs"],
        action: Shaped[Array, "..."],
        next_obs: Float[Array, "*batch obs"],
    ) -> Float[Array, "*batch"]:
        """The reward of each step."""
        ...


class BeliefReward(eqx.Module):
    """The mean reward of a belief, or a cost model's probability that a step is forbidden; neither
    depends on the next observation.
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
    """The true reward of a task: for comparison, never for learning."""

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
        reward = jax.vmap(self.family.reward, (0, 0, 0, None))(
            obs.reshape(-1, size), action, next_obs.reshape(-1, size), self.task
        )
        return reward.reshape(batch)


RewardFunction = Callable[[Float[Array, "*batch inputs"]], Float[Array, "*batch"]]
"""A reward as a function of inputs; a tree of arrays that can be called."""


class RewardOfInputs(eqx.Module):
    """A reward as a function of a reward network's inputs (see `reward.networks.encode`).

    The observation takes the place of the next one in a reward that depends on it.
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
    """Steps as inputs of reward networks, a row each, whatever their leading dimensions."""
    obs, space = obs.reshape(-1, obs.shape[-1]), family.action_space
    action = action.reshape(-1) if isinstance(space, Discrete) else action.reshape(-1, space.size)
    return np.asarray(encode(jnp.asarray(obs), jnp.asarray(action), num_actions_of(family)))


class Feature(NamedTuple):
    """What a reward may depend on: one observation, or one action."""

    name: str
    unit: str
    columns: tuple[int, ...]
    """Its inputs; a choice between actions has a column for each."""
    options: tuple[str, ...] = ()
    """Names of the choices."""
    offset: float = 0.0
    scale: float = 1.0
    """In its unit it is offset + scale times the input."""

    @property
    def label(self) -> str:
        """Its name, with its unit where it has one."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def in_units(self, value: np.ndarray) -> np.ndarray:
        """Inputs in its unit."""
        return self.offset + self.scale * np.asarray(value)


def features_of(family: Shown) -> tuple[Feature, ...]:
    """All features of the family's steps, in the order of the inputs."""
    obs, action = family.observation_space, family.action_space
    features = [
        Feature(name, unit, (i,))
        for i, (name, unit) in enumerate(zip(obs.names, _units(obs), strict=True))
    ]
    if not isinstance(action, Box):
        columns = tuple(range(obs.size, obs.size + action.size))
        return (*features, Feature("action", "", columns, action.names))
    low, high = (np.broadcast_to(bound, (action.size,)) for bound in action[1:3])
    for i, (name, unit) in enumerate(zip(action.names, _units(action), strict=True)):
        middle, half = float(low[i] + high[i]) / 2, float(high[i] - low[i]) / 2
        features.append(Feature(name, unit, (obs.size + i,), (), middle, half))
    return tuple(features)


def horizontal_first(pair: tuple[Feature, Feature]) -> tuple[Feature, Feature]:
    """The pair with the horizontal one first, by its name: x before y."""

    def vertical(feature: Feature) -> int:
        words = feature.name.lower().split()
        return ("y" in words) - ("x" in words)

    one, other = pair
    return (other, one) if vertical(one) > vertical(other) else pair


def _units(space: Box) -> tuple[str, ...]:
    return space.units or ("",) * space.size
