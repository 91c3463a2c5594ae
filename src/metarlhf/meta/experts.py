"""Experts of single tasks, by PPO, in simulators that step outside the compiled program.

They are an upper end of the scale, as `references.references` are for compiled families; and guided
meta-training (`metarlhf.meta.guided`) teaches a learner to do after a few gradient steps what they
do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from metarlhf import ppo, rollout_host
from metarlhf.envs.base import Tasks
from metarlhf.envs.host import TaskedEnv
from metarlhf.meta.batches import count_of
from metarlhf.networks import Agent
from metarlhf.rollout import EVALUATION
from metarlhf.types import Task


class Experts(NamedTuple):
    """Who knows one task each; leaves have a leading dimension `task`."""

    tasks: Task
    agents: Agent

    @property
    def count(self) -> int:
        """How many there are."""
        return count_of(self.tasks)

    def some(self, key: PRNGKeyArray, count: int) -> "Experts":
        """So many of them, drawn at random: none again before all others were."""
        rounds = jax.random.split(key, -(-count // self.count))
        orders = [jax.random.permutation(round_key, self.count) for round_key in rounds]
        chosen = jnp.concatenate(orders)[:count]
        return jax.tree.map(lambda x: x[chosen], self)


def drawn(key: PRNGKeyArray, family: Tasks, most: int) -> Task:
    """So many tasks of the family, without those that were drawn before."""
    tasks = jax.vmap(family.sample)(jax.random.split(key, most))
    rows = np.concatenate([np.reshape(x, (most, -1)) for x in jax.tree.leaves(tasks)], axis=1)
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return jax.tree.map(lambda x: x[first], tasks)


def taught_alone(
    key: PRNGKeyArray,
    env: TaskedEnv,
    task: Task,
    config: ppo.PPOConfig,
    tell: Callable[[int, dict[str, Any]], None] = lambda done, metrics: None,
) -> tuple[Agent, float]:
    """PPO on this one task in all of `env`, until `config`'s budget is spent.

    `tell` hears of every update that is done, and its metrics: `return` is the mean of the episodes
    that ended. Returns the agent and its mean true return, an episode in each of `env`. It acts by
    sampling, as all do before and after gradient steps in simulators.
    """
    env.set_tasks(jax.tree.map(lambda x: np.stack([np.asarray(x)] * env.num_envs), task))
    state = ppo.host.init(key, env, config)
    for update in range(config.num_updates):
        state, metrics = ppo.host.iterate(state, env, config)
        paid = metrics.pop("episode_return")
        tell(update + 1, metrics if paid is None else metrics | {"return": paid})
    play_key = jax.random.fold_in(state.key, EVALUATION)
    returns = rollout_host.evaluate(play_key, env, state.agent.actor, deterministic=False)
    return state.agent, float(returns.mean())
