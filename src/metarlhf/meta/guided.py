"""Guided meta-training: to do after a few gradient steps what an expert does at once.

Mendonca et al. 2019, "Guided meta-policy search". Inner steps learn from what a task pays, as ever.
The outer loop is told by an expert of each task, which PPO made, what it would do where adapted
policies come to, and moves the initialisation and the update rule so that they do that: supervised
learning through the inner steps, whose gradient is far less noisy than one of returns. At test time
there is no expert.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import HostFamily, Tasks
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.estimators import Samples
from metarlhf.meta.inner import InnerLoop
from metarlhf.meta.objective import Metrics, kl_from_collecting, mean_value_loss, over_steps, replay
from metarlhf.meta.outer_steps import MetaRLState, descend, held_near
from metarlhf.meta.tasks import count_of
from metarlhf.networks import Agent, DiagGaussian, Distribution
from metarlhf.ppo.presets import alone_on_host
from metarlhf.sampling import EVALUATION, HostSampler
from metarlhf.sampling.compiled import sample_tasks
from metarlhf.training import Callback, iterate
from metarlhf.types import Task

# Folded into a seed's key for what experts learn with.
EXPERTS = 0xE4B7


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


def distinct_tasks(key: PRNGKeyArray, family: Tasks, most: int) -> Task:
    """`most` tasks of the family, without those that were drawn before."""
    tasks = sample_tasks(key, family, most)
    rows = np.concatenate([np.reshape(x, (most, -1)) for x in jax.tree.leaves(tasks)], axis=1)
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return jax.tree.map(lambda x: x[first], tasks)


def train_alone(
    key: PRNGKeyArray,
    family: HostFamily,
    task: Task,
    config: ppo.PPOConfig,
    callbacks: Sequence[Callback] = (),
) -> tuple[Agent, float]:
    """PPO on one task, in simulators of its own, until `config`'s budget is spent.

    Args:
        key: all randomness follows from it.
        family: whose simulators they are.
        task: without a leading dimension.
        config: how PPO learns; nothing is evaluated before the end.
        callbacks: are told after each update; `episode_return` is the mean of episodes that ended.

    Returns:
        The agent, and its mean true return, an episode in each of its simulators. It acts by
        sampling, as all do before and after gradient steps in simulators.
    """
    last = replace(
        config,
        evaluate_every=config.num_updates,
        evaluation_episodes=config.num_envs,
        patience=0,
    )
    with closing(family.connect(config.num_envs)) as env:
        env.set_tasks(jax.tree.map(lambda x: np.stack([np.asarray(x)] * env.num_envs), task))
        sampler = HostSampler(env, env)
        loop = ppo.training(key, sampler, last)
        state = loop.start()
        for after, _ in iterate(loop, state, callbacks=callbacks):
            state = after
        play_key = jax.random.fold_in(state.key, EVALUATION)
        returns = sampler.evaluate(play_key, state.agent.actor, env.num_envs, deterministic=False)
    return state.agent, float(returns.mean())


def train_experts(
    key: PRNGKeyArray,
    family: HostFamily,
    config: MetaRLConfig,
    train: Callable[[int, PRNGKeyArray, Task, ppo.PPOConfig], Agent] | None = None,
) -> Experts:
    """An expert of each of some tasks, for guided meta-training by the same `key`.

    Args:
        key: what meta-training begins with.
        family: whose tasks and simulators they are.
        config: says of how many tasks, and how long each expert learns.
        train: makes the expert of this number and task, as `train_alone` does: a command that
            shows and keeps each.
    """
    tasks = distinct_tasks(jax.random.fold_in(key, EXPERTS), family, config.expert_tasks)
    alone = alone_on_host(family.horizon, config.expert_steps)
    train = train or (lambda number, key, task, alone: train_alone(key, family, task, alone)[0])
    agents = []
    for number in range(count_of(tasks)):
        task = jax.tree.map(lambda x: x[number], tasks)
        agents.append(train(number, jax.random.fold_in(key, EXPERTS + 1 + number), task, alone))
    return Experts(tasks, jax.tree.map(lambda *x: jnp.stack(x), *agents))


class Advised(NamedTuple):
    """What inner loops left, and what the expert would have done after each step.

    Leading dimensions are (step, task).
    """

    support: Samples
    query: Samples
    advice: Distribution


def advise(experts: Experts, loop: InnerLoop, std: float) -> Distribution:
    """What each task's expert does where adapted policies came to, leading (step, task).

    It acts within the range of actions: what lies beyond is cut off by simulators, and to imitate
    how far beyond would be in vain. Nor is imitated how much an expert explores: it is advised to
    do what it holds best, give or take `std`.
    """
    of_task = jax.vmap(lambda agent, obs: agent.actor(obs)[0])
    advice = jax.vmap(lambda obs: of_task(experts.agents, obs))(loop.query.obs)
    if isinstance(advice, DiagGaussian):
        sharper = jnp.clip(advice.mean, -1.0, 1.0), jnp.full_like(advice.log_std, jnp.log(std))
        advice = eqx.tree_at(lambda d: (d.mean, d.log_std), advice, sharper)
    return advice


def guided_step(
    state: MetaRLState, loop: InnerLoop, config: MetaRLConfig, *, advice: Distribution
) -> tuple[MetaRLState, Metrics]:
    """`config.epochs` steps of Adam towards doing as advised after the inner steps.

    The penalty on moving away from the policies that collected is ProMP's; without it what was
    collected before adaptation would soon be of another policy.
    """

    def one(learned, task):
        before, after = replay(learned, task.support, task.query, config)
        far = jax.vmap(kl_of_advice)(task.query.weight, task.advice, after)
        return far, jax.vmap(kl_from_collecting)(task.support, before)

    def loss(learned, data):
        far, strayed = jax.vmap(partial(one, learned), in_axes=1)(data)
        apart, value_loss = (
            over_steps(far, config),
            mean_value_loss(learned[0].critic, data.query, config),
        )
        total = apart + jnp.sum(state.kl_coefficient * strayed.mean(0))
        aux = {"advice_kl": apart, "value_loss": value_loss}, strayed.mean(0)
        return total + config.value_coefficient * value_loss, aux

    data = Advised(loop.support, loop.query, advice)
    return held_near(*descend(state, loss, data, config), config)


def kl_of_advice(
    weight: Float[Array, "*batch"], advice: Distribution, after: Distribution
) -> Float[Array, ""]:
    """Mean KL from what the policy says to what was advised, in nats, each step as it weighs.

    In this direction a policy that cannot imitate exactly does not make up for it by acting at
    random; the other way round it does, and on AntDir goes a fifth less far so.
    """
    return jnp.mean(weight * after.kl(advice))
