"""Pretraining on simulators outside the compiled program: what `meta.starts` does for others.

PPO teaches one policy the average of all tasks, and gradient steps begin from there: a start that
no meta-objective made, to compare a meta-learned one with.
"""

from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Tasks
from metarlhf.envs.host import HostObservation, HostStep, TaskedEnv
from metarlhf.meta.gradient_prior import GradientPrior
from metarlhf.ppo import PPOConfig, TrainState
from metarlhf.types import Task


class AnyTask:
    """Simulators of `env`, each with a task of its own for each episode: see `trials.AnyTask`."""

    def __init__(self, env: TaskedEnv, family: Tasks):
        self.env, self.family = env, family
        self.name, self.num_envs, self.horizon = f"{env.name}, any task", env.num_envs, env.horizon
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._key, self._tasks = jax.random.key(0), self._drawn(jax.random.key(0))

    def reset(self, seed: int) -> HostObservation:
        """Begin anew, with new tasks; all of them follow from `seed`."""
        self._key = jax.random.key(seed)
        self._tell(np.ones(self.num_envs, bool))
        return self.env.reset(seed)

    def step(self, actions: np.ndarray) -> HostStep:
        """Act; where an episode ended, the next one has another task."""
        found = self.env.step(actions)
        ended = found.terminated | found.truncated
        if ended.any():
            self._tell(ended)
        return found

    def close(self) -> None:
        """End the simulators' processes, if they have any."""
        self.env.close()

    def _tell(self, some: Bool[np.ndarray, " env"]) -> None:
        self._key, key = jax.random.split(self._key)
        self._tasks = jax.tree.map(
            lambda new, old: np.where(some.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            self._drawn(key),
            self._tasks,
        )
        self.env.set_tasks(self._tasks)

    def _drawn(self, key: PRNGKeyArray) -> Task:
        tasks = jax.vmap(self.family.sample)(jax.random.split(key, self.num_envs))
        return jax.tree.map(np.asarray, tasks)


def pretrain(
    key: PRNGKeyArray, env: TaskedEnv, family: Tasks, start: GradientPrior, config: PPOConfig
) -> GradientPrior:
    """`start` after PPO until the budget of `config` is spent.

    What its networks are like is as in `start`, whatever `config` says.
    """
    normalise = start.shape.policy.normalise_obs
    config = replace(config, normalise_obs=normalise, memory=None, squash=False)
    any_task = AnyTask(env, family)
    state: TrainState = ppo.host.init(key, any_task, config, start.agent)
    for _ in range(config.num_updates):
        state, _ = ppo.host.iterate(state, any_task, config)
    return eqx.tree_at(lambda s: s.agent, start, state.agent)
