"""How much of what the true reward teaches does a prior reach on held-out tasks, and what does it save?

Normalised return of a task: 0 is what an untrained policy gets, 1 what PPO with the true reward gets
when it has converged, both on that task; all policies act by their mode.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo, rlhf
from metarlhf.envs.base import TaskFamily
from metarlhf.meta.prior import Prior
from metarlhf.reward import EnsembleConfig
from metarlhf.rollout import evaluate
from metarlhf.types import Task

# Folded into the key of held-out tasks, so that no seed of meta-training draws the same ones.
HELD_OUT = 0x7E57


def held_out_tasks(family: TaskFamily, count: int, seed: int = 0) -> Task:
    """`count` tasks that meta-training never sees; always the same ones for a seed."""
    key = jax.random.fold_in(jax.random.key(seed), HELD_OUT)
    return jax.vmap(family.sample)(jax.random.split(key, count))


class References(NamedTuple):
    """The ends of the scale, for each task."""

    untrained: Float[np.ndarray, " task"]
    oracle: Float[np.ndarray, " task"]

    def normalise(self, returns: Float[np.ndarray, "*any task"]) -> Float[np.ndarray, "*any task"]:
        """Returns as shares of the way from untrained to oracle."""
        return (returns - self.untrained) / (self.oracle - self.untrained)


@partial(jax.jit, static_argnames=("family", "episodes"))
def _returns(key, family, tasks, agents, episodes):
    """Mean true return of each task's agent."""
    one = lambda key, task, agent: evaluate(key, family, task, agent.actor, episodes).mean()
    return jax.vmap(one)(jax.random.split(key, _count(tasks)), tasks, agents)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def _ppo_updates(states, family, tasks, config, updates):
    """PPO on the true reward of each task."""
    one = lambda state, task: ppo.iterate_many(state, family, task, config, updates)[0]
    return jax.vmap(one)(states, tasks)


def _count(tasks: Task) -> int:
    return jax.tree.leaves(tasks)[0].shape[0]


def references(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    config: ppo.PPOConfig,
    untrained: int = 8,
) -> References:
    """Train PPO on the true reward of every task until the mean return has converged.

    What an untrained policy gets is the mean over `untrained` fresh networks.
    """
    agent_key, train_key, eval_key = jax.random.split(key, 3)
    count = _count(tasks)
    start = jax.vmap(lambda key, task: ppo.init(key, family, task, config).agent)
    fresh = [
        _returns(eval_key, family, tasks, start(jax.random.split(k, count), tasks), 4)
        for k in jax.random.split(agent_key, untrained)
    ]
    begin = jax.vmap(lambda key, task: ppo.init(key, family, task, config))
    states, means = begin(jax.random.split(train_key, count), tasks), []
    for _ in range(0, config.num_updates, config.evaluate_every):
        states = _ppo_updates(states, family, tasks, config, config.evaluate_every)
        oracle = _returns(eval_key, family, tasks, states.agent, config.evaluation_episodes)
        means.append(float(oracle.mean()))
        if ppo.converged(means, config):
            break
    return References(np.mean(fresh, axis=0), np.asarray(oracle))


class Curve(NamedTuple):
    """How well each task is done after so many answers and environment steps."""

    labels: Float[np.ndarray, " point"]
    steps: Float[np.ndarray, " point"]
    returns: Float[np.ndarray, "point task"]


Start = Callable[[PRNGKeyArray, Task], rlhf.RLHFState]


def teach(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    start: Start,
    config: rlhf.RLHFConfig,
    episodes: int = 8,
    practice: int = 1,
) -> Curve:
    """Teach every task by RLHF, from what `start` begins with, and measure after each round.

    The updates after the last answer are measured in `practice` equal parts.
    """
    start_key, eval_key = jax.random.split(key)
    learning = family.without_termination()
    states = _start_all(start_key, learning, tasks, start)
    points = [_point(eval_key, family, tasks, states, episodes)]
    for _ in range(config.rounds):
        states = _round(states, learning, tasks, config)
        points.append(_point(eval_key, family, tasks, states, episodes))
    for _ in range(practice if config.final_updates else 0):
        states = _practise(states, learning, tasks, config, config.final_updates // practice)
        points.append(_point(eval_key, family, tasks, states, episodes))
    return Curve(*map(np.stack, zip(*points, strict=True)))


def _start_all(key, family, tasks, start):
    return jax.jit(jax.vmap(start))(jax.random.split(key, _count(tasks)), tasks)


def _point(key, family, tasks, states, episodes):
    labels, steps = np.mean(states.answers.count), np.mean(states.steps)
    return labels, steps, np.asarray(_returns(key, family, tasks, states.ppo.agent, episodes))


@partial(jax.jit, static_argnames=("family", "config"))
def _round(states, family, tasks, config):
    return jax.vmap(lambda s, task: rlhf.run_round(s, family, task, config)[0])(states, tasks)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def _practise(states, family, tasks, config, updates):
    one = lambda s, task: rlhf.practise(s, family, task, config, updates)[0]
    return jax.vmap(one)(states, tasks)
