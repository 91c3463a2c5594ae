"""The ends of the scale by which tasks are judged, an untrained policy and PPO.

Normalised return of a task: 0 is what an untrained policy gets, 1 what PPO with the true reward
ends with, its step size annealed to nothing, both on that task; all policies act by their mode.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import TaskFamily
from metarlhf.meta.batches import count_of
from metarlhf.rollout import evaluate
from metarlhf.types import Task


class References(NamedTuple):
    """The ends of the scale, for each task."""

    untrained: Float[np.ndarray, " task"]
    oracle: Float[np.ndarray, " task"]

    def normalise(self, returns: Float[np.ndarray, "*any task"]) -> Float[np.ndarray, "*any task"]:
        """Returns as shares of the way from untrained to oracle."""
        return (returns - self.untrained) / (self.oracle - self.untrained)

    @property
    def spread(self) -> float:
        """Standard deviation from task to task of what an untrained policy gets."""
        return float(np.std(self.untrained))

    @property
    def gained(self) -> float:
        """What PPO gains on an untrained policy, over all tasks."""
        return float(np.mean(self.oracle - self.untrained))

    @property
    def hardly_learns(self) -> bool:
        """Whether that is less than untrained returns differ from task to task: shares of it then
        say little.
        """
        return self.gained < self.spread

    @property
    def gains_nothing_in(self) -> int:
        """In how many tasks PPO gains nothing: a share of that says nothing, or anything."""
        return int(np.sum(self.oracle <= self.untrained))

    def share(self, returns: Float[np.ndarray, "*any task"]) -> Float[np.ndarray, "*any task"]:
        """1 less what returns are short of PPO's on the same task, in units of what PPO gains over
        all tasks. So 1 is as PPO in every task, the mean is the share of means, and a task in
        which PPO gains little weighs no more than others.
        """
        return 1.0 - (self.oracle - returns) / self.gained

    @property
    def is_a_scale(self) -> bool:
        """Whether both ends lie apart in every task."""
        far = np.abs(self.oracle - self.untrained)
        return bool((far > 1e-6 * np.maximum(np.abs(self.oracle), 1e-6)).all())

    def first(self, count: int) -> "References":
        """Those of the first `count` tasks."""
        return References(self.untrained[:count], self.oracle[:count])


@partial(jax.jit, static_argnames=("family", "episodes"))
def mean_returns(key, family, tasks, agents, episodes):
    """Mean true return of each task's agent."""
    one = lambda key, task, agent: evaluate(key, family, task, agent.actor, episodes).mean()
    return jax.vmap(one)(jax.random.split(key, count_of(tasks)), tasks, agents)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def _ppo_updates(states, family, tasks, config, updates):
    """PPO on the true reward of each task."""
    one = lambda state, task: ppo.iterate_many(state, family, task, config, updates)[0]
    return jax.vmap(one)(states, tasks)


def references(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    config: ppo.PPOConfig,
    untrained: int = 8,
) -> References:
    """Train PPO on the true reward of every task, until its budget is spent or it has converged.

    What an untrained policy gets is the mean over `untrained` fresh networks.
    """
    agent_key, train_key, eval_key = jax.random.split(key, 3)
    count = count_of(tasks)
    begin = jax.jit(jax.vmap(lambda key, task: ppo.init(key, family, task, config)))
    fresh = [
        mean_returns(eval_key, family, tasks, begin(jax.random.split(k, count), tasks).agent, 4)
        for k in jax.random.split(agent_key, untrained)
    ]
    states, means = begin(jax.random.split(train_key, count), tasks), []
    for done in range(0, config.num_updates, config.evaluate_every):
        updates = min(config.evaluate_every, config.num_updates - done)
        states = _ppo_updates(states, family, tasks, config, updates)
        oracle = mean_returns(eval_key, family, tasks, states.agent, config.evaluation_episodes)
        means.append(float(oracle.mean()))
        if ppo.converged(means, config):
            break
    return References(np.mean(fresh, axis=0), np.asarray(oracle))
