"""Experts of single tasks, by PPO, in simulators that step outside the compiled program.

They are an upper end of the scale, as `references.references` are for compiled families; and guided
meta-training (`metarlhf.meta.guided`) teaches a learner to do after a few gradient steps what they
do.

Guided meta-training: to do after a few gradient steps what an expert does at once.

Mendonca et al. 2019, "Guided meta-policy search". Gradient steps learn from what a task pays, as
ever. The outer loop is told by an expert (`metarlhf.meta.guided`) what it would do where adapted
policies come to, and moves the initialisation and the update rule so that they do that: supervised
learning through the inner steps, whose gradient is far less noisy than one of returns. At test time
there is no expert.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import TaskedEnv, Tasks
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.estimators import Samples
from metarlhf.meta.inner import InnerLoop
from metarlhf.meta.objective import Metrics, kl_from_collecting, mean_value_loss, over_steps, replay
from metarlhf.meta.outer_steps import MetaRLState, descend, held_near
from metarlhf.meta.tasks import count_of
from metarlhf.networks import Agent, DiagGaussian, Distribution
from metarlhf.sampling import EVALUATION, HostSampler
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
    sampler = HostSampler(env, env)
    state = ppo.init(key, sampler, config)
    for update in range(config.num_updates):
        state, metrics = ppo.iterate(state, sampler, config)
        paid = metrics.pop("episode_return")
        tell(update + 1, metrics if paid is None else metrics | {"return": paid})
    play_key = jax.random.fold_in(state.key, EVALUATION)
    returns = sampler.evaluate(play_key, state.agent.actor, env.num_envs, deterministic=False)
    return state.agent, float(returns.mean())


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
