"""Any EnvPool environment as a `HostEnv`.

EnvPool spends the step after an episode's end on the reset (Gymnasium's NEXT_STEP): the action is
ignored and pays nothing. It never comes to that here, as environments whose episodes ended are
reset at once, by another call for them alone. The final observation is what `step` gave.

EnvPool does not say of an episode that ends by itself at the very step of the time limit that it
terminated: it counts as truncated.
"""

import difflib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import envpool
import jax
import numpy as np

from metarlhf.envs.adapters.gymnasium_spaces import (
    action_space,
    observation_space,
    to_action,
    to_observation,
)
from metarlhf.envs.base import HostObservation, HostStep, host_step
from metarlhf.errors import SimulatorError, UnknownTaskError


class FromEnvPool:
    """A pool that steps `num_envs` environments in its own threads."""

    def __init__(self, identifier: str, num_envs: int):
        if identifier not in envpool.list_all_envs():
            close = difflib.get_close_matches(identifier, envpool.list_all_envs(), n=3, cutoff=0.5)
            hint = f" Close are: {', '.join(close)}." if close else ""
            raise UnknownTaskError(f"EnvPool knows no environment {identifier!r}.{hint}")
        self._identifier, self.num_envs = identifier, num_envs
        spec: Any = envpool.make_spec(identifier)
        self.name = f"envpool:{identifier}"
        self.horizon = getattr(spec.config, "max_episode_steps", None)
        with _without_remarks():
            self._sees, self._does = spec.gymnasium_observation_space, spec.gymnasium_action_space
        self.observation_space = observation_space(self._sees)
        self.action_space = action_space(self._does)
        self._pool: Any = None

    def reset(self, seed: int) -> HostObservation:
        # A pool's seed is that which it was made with.
        self.close()
        try:
            with _without_remarks():
                self._pool = envpool.make_gymnasium(
                    self._identifier, num_envs=self.num_envs, seed=seed % 2**31
                )
                obs, _ = self._pool.reset()
        except (AssertionError, RuntimeError, TypeError) as error:
            raise SimulatorError(f"{self.name} cannot be made: {error}") from error
        return self._seen(obs)

    def step(self, actions: np.ndarray) -> HostStep:
        told = to_action(self._does, actions)
        obs, reward, terminated, truncated, _ = self._pool.step(told)
        next_obs = obs = self._seen(obs)
        ended = terminated | truncated
        if ended.any():
            fresh, info = self._pool.reset(np.flatnonzero(ended))
            fresh, where = self._seen(fresh), info["env_id"]
            obs = jax.tree.map(np.copy, next_obs)
            for whole, new in zip(jax.tree.leaves(obs), jax.tree.leaves(fresh), strict=True):
                whole[where] = new
        return host_step(next_obs, obs, reward, terminated, truncated)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _seen(self, obs: Any) -> HostObservation:
        return to_observation(self._sees, obs)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Gymnasium remarks on bounds in double precision, which nobody here can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
