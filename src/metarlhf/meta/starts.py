"""Where gradient steps may begin without a meta-objective, to compare a meta-learned start with.

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
from jaxtyping import PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs import TaskFamily
from metarlhf.envs.base import Tasks
from metarlhf.envs.host import TaskedEnv
from metarlhf.meta.gradient_prior import GradientPrior, GradientShape, blank
from metarlhf.meta.trials import any_task
from metarlhf.networks import Agent
from metarlhf.ppo import PPOConfig, TrainState

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
    return blank(key, _plain(shape))


def pretrained_start(
    key: PRNGKeyArray, shape: GradientShape, family: TaskFamily, config: PPOConfig
) -> GradientPrior:
    """The same after PPO on a task of its own for each episode, until its budget is spent.

    What its networks are like follows from `shape`, whatever `config` says.
    """
    start_key, train_key = jax.random.split(key)
    start, env, no_task = random_start(start_key, shape), any_task(family), jnp.zeros(())
    state = ppo.init(train_key, env, no_task, config, start.agent)
    while (left := config.num_updates - int(state.updates)) > 0:
        # In parts, between which it can be stopped.
        part = min(config.evaluate_every, left)
        state, _ = ppo.iterate_many(state, env, no_task, config, part)
    return eqx.tree_at(lambda s: s.agent, start, _in_units_of_reward(state))


def pretrained_start_on_host(
    key: PRNGKeyArray, shape: GradientShape, env: TaskedEnv, family: Tasks, config: PPOConfig
) -> GradientPrior:
    """The same in simulators that step outside the compiled program, which get new tasks, and begin
    new episodes, before each update.
    """
    start_key, task_key, train_key = jax.random.split(key, 3)
    start, draw = random_start(start_key, shape), jax.jit(jax.vmap(family.sample))

    def tell(update: int) -> None:
        keys = jax.random.split(jax.random.fold_in(task_key, update), env.num_envs)
        env.set_tasks(jax.tree.map(np.asarray, draw(keys)))

    tell(0)
    state = ppo.host.init(train_key, env, config, start.agent)
    for update in range(config.num_updates):
        tell(update)
        state, _ = ppo.host.iterate(ppo.host.restart(state, env), env, config)
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
