"""The ends of the scale by which tasks are judged, an untrained policy and PPO.

Normalised return of a task: 0 is what an untrained policy gets, 1 what PPO with the true reward
ends with, its step size annealed to nothing, both on that task; all policies act by their mode.

Where gradient steps may begin without a meta-objective, to compare a meta-learned start with.

At random; or pretrained: one policy that PPO taught the average of all tasks, in as many steps as
meta-training had (the baseline of Finn et al. 2017). Neither has learned how to step, so each gets
the step size that does best on validation tasks.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.contrib.rl2 import any_task
from metarlhf.envs.base import TaskedEnv, TaskFamily, Tasks
from metarlhf.meta.prior import GradientPrior, GradientShape
from metarlhf.meta.tasks import count_of
from metarlhf.networks import Agent
from metarlhf.ppo import PPOConfig, TrainState
from metarlhf.sampling import CompiledSampler, HostSampler
from metarlhf.sampling.compiled import evaluate
from metarlhf.training import converged
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
    one = lambda state, task: ppo.iterate_many(
        state, CompiledSampler(family, task, config.num_envs), config, updates
    )[0]
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
    begin = jax.jit(
        jax.vmap(
            lambda key, task: ppo.init(key, CompiledSampler(family, task, config.num_envs), config)
        )
    )
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
        if converged(means, config.patience, config.tolerance):
            break
    return References(np.mean(fresh, axis=0), np.asarray(oracle))


STARTS = {"random": 0x4A7D, "pretrained": 0x93E7}
"""Folded into a seed's key for each: they act in the same tasks as a prior, with other noise."""
FACTOR, POWERS, MORE = 3.0, range(-4, 3), 4
"""Step sizes that are tried: powers of a factor, in units of the step size that meta-training began
with; and where the best stands at an end, so many more beyond it."""
STEP_SIZE = 1.0
"""Step size in whose units, where meta-training began with another rule than descent."""


class Tuned(NamedTuple):
    """A start, and the step size that did best from there."""

    start: GradientPrior
    step_size: float


def random_start(key: PRNGKeyArray, shape: GradientShape) -> GradientPrior:
    """Networks like those of a prior of this shape, drawn at random, and plain gradient steps."""
    return _plain(shape).blank(key)


def pretrained_start(
    key: PRNGKeyArray, shape: GradientShape, family: TaskFamily, config: PPOConfig
) -> GradientPrior:
    """The same after PPO on a task of its own for each episode, until its budget is spent.

    What its networks are like follows from `shape`, whatever `config` says.
    """
    start_key, train_key = jax.random.split(key)
    start, env, no_task = random_start(start_key, shape), any_task(family), jnp.zeros(())
    state = ppo.init(train_key, CompiledSampler(env, no_task, config.num_envs), config, start.agent)
    while (left := config.num_updates - int(state.updates)) > 0:
        # In parts, between which it can be stopped.
        part = min(config.evaluate_every, left)
        state, _ = ppo.iterate_many(
            state, CompiledSampler(env, no_task, config.num_envs), config, part
        )
    return eqx.tree_at(lambda s: s.agent, start, _in_units_of_reward(state))


def pretrained_start_on_host(
    key: PRNGKeyArray, shape: GradientShape, env: TaskedEnv, family: Tasks, config: PPOConfig
) -> GradientPrior:
    """The same in host simulators, which get new tasks, and begin
    new episodes, before each update.
    """
    start_key, task_key, train_key = jax.random.split(key, 3)
    start, draw = random_start(start_key, shape), jax.jit(jax.vmap(family.sample))

    def tell(update: int) -> None:
        keys = jax.random.split(jax.random.fold_in(task_key, update), env.num_envs)
        env.set_tasks(jax.tree.map(np.asarray, draw(keys)))

    tell(0)
    sampler = HostSampler(env)
    state = ppo.init(train_key, sampler, config, start.agent)
    for update in range(config.num_updates):
        tell(update)
        state, _ = ppo.iterate(ppo.restart(state, sampler), sampler, config)
    return eqx.tree_at(lambda s: s.agent, start, _in_units_of_reward(state))


def tuned(start: GradientPrior, judged: Callable[[GradientPrior], float]) -> Tuned:
    """With the step size that leads highest, as `judged` on tasks that nothing is reported of."""

    def finite(power: int) -> float:
        found = judged(_scaled(start, FACTOR**power))
        return found if np.isfinite(found) else -np.inf

    came = {power: finite(power) for power in POWERS}
    for _ in range(MORE):
        best = max(came, key=came.__getitem__)
        beyond = {min(came): min(came) - 1, max(came): max(came) + 1}.get(best)
        if beyond is None:
            break
        came[beyond] = finite(beyond)
    multiple = FACTOR ** max(came, key=came.__getitem__)
    return Tuned(_scaled(start, multiple), multiple * start.shape.policy.inner_lr)


def _in_units_of_reward(state: TrainState) -> Agent:
    """The agent, whose value function was taught rewards on a running scale, if they had one."""
    agent = state.agent
    if state.reward_scale is None:
        return agent
    std = jnp.sqrt(state.reward_scale.moments.mean_variance[1] + 1e-8)
    last = lambda a: (a.critic.network.weights[-1], a.critic.network.biases[-1])
    return eqx.tree_at(last, agent, [std * leaf for leaf in last(agent)])


def _plain(shape: GradientShape) -> GradientShape:
    """Plain descent by a step size that is an array: one program serves all that are tried."""
    policy = shape.policy
    policy = replace(
        policy,
        method="promp",
        inner_rule="sgd",
        inner_lr=policy.inner_lr if policy.inner_rule == "sgd" else STEP_SIZE,
        learn_inner_lr="tensor",
        learn_offset=False,
    )
    return replace(shape, policy=policy)


def _scaled(start: GradientPrior, multiple: float) -> GradientPrior:
    multiples = jax.tree.map(partial(jnp.full_like, fill_value=multiple), start.rule.multiples)
    return eqx.tree_at(lambda s: s.rule.multiples, start, multiples)
