"""Any Gymnax 1.0 environment as an `Environment`: it compiles, and a task is its parameters."""

import difflib
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from gymnasium import spaces as theirs
from gymnax.environments.spaces import gymnax_space_to_gym_space
from jaxtyping import Array, PRNGKeyArray, Shaped

from metarlhf.envs.base import Step
from metarlhf.envs.errors import SimulatorError, UnknownTaskError
from metarlhf.envs.gymnasium_spaces import (
    action_space,
    observation_space,
    to_action,
    to_observation,
)
from metarlhf.types import Observation, State, Task


class FromGymnax:
    """`FromGymnax("Pendulum-v1", g=9.0)`: options are parameters, the others stay as they come.

    Every task that it draws is those parameters; those of a `GymnaxFamily` vary.

    Raises:
        UnknownTaskError: Gymnax knows no environment of that name.
        ValueError: a parameter that the environment does not have.
        SimulatorError: a space of another kind than ours, or data that cannot be fetched.
    """

    def __init__(self, identifier: str, **parameters: Any):
        if identifier not in gymnax.registered_envs:
            close = difflib.get_close_matches(identifier, gymnax.registered_envs, n=3, cutoff=0.5)
            hint = f" Close are: {', '.join(close)}." if close else ""
            raise UnknownTaskError(f"Gymnax knows no environment {identifier!r}.{hint}")
        self.name = f"gymnax:{identifier}"
        try:
            self._env, params = gymnax.make(identifier)
        except OSError as error:
            raise SimulatorError(f"{self.name} could not fetch its data: {error}") from error
        self._settle(params.replace(**parameters))

    # Typed as any, for the base of all parameters has few of their fields.
    def _settle(self, params: Any) -> None:
        """Let these be the parameters, with the horizon and the spaces that follow from them."""
        self._params = params
        self.horizon = int(params.max_steps_in_episode)
        try:
            self._sees = gymnax_space_to_gym_space(self._env.observation_space(params))
            self._does = self._acts_in(params)
        except NotImplementedError as error:
            raise SimulatorError(f"{self.name} has spaces that do not convert: {error}") from error
        self.observation_space = observation_space(self._sees)
        self.action_space = action_space(self._does)

    def _acts_in(self, params: Any) -> theirs.Space:
        return gymnax_space_to_gym_space(self._env.action_space(params))

    def sample(self, key: PRNGKeyArray) -> Task:
        return jax.tree.map(jnp.asarray, self._params)

    def reset(self, key: PRNGKeyArray, task: Task) -> tuple[Observation, State]:
        obs, state = self._env.reset_env(key, task)
        return to_observation(self._sees, obs, jnp), state

    def step(
        self, key: PRNGKeyArray, state: State, action: Shaped[Array, "*action"], task: Task
    ) -> Step:
        # Not `step`, which resets by itself and so hides what the action led to.
        told = to_action(self._does, action, jnp)
        obs, state, reward, terminated, _ = self._env.step_env(key, state, told, task)
        truncated = self._env.is_truncated(state, task)
        return Step(
            to_observation(self._sees, obs, jnp),
            state,
            jnp.asarray(reward, jnp.float32).reshape(()),
            jnp.asarray(terminated, bool).reshape(()),
            jnp.asarray(truncated, bool).reshape(()),
        )
