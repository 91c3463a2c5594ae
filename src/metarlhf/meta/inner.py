"""The inner loop: adapt a policy to a task by a few gradient steps, each on fresh episodes.

`play_and_adapt` collects; `gradient_step` learns, and is all that the outer loop differentiates, on
stored data.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import optimise
from metarlhf.envs.base import Spaces
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.estimators import (
    Samples,
    dice_loss,
    judge,
    loaded_dice_loss,
    log_prob_loss,
    lvc_loss,
)
from metarlhf.meta.update_rules import LearnedRule, begin, split, update_rule
from metarlhf.networks import Agent, Distribution, build_agent
from metarlhf.sampling import CompiledTaskSampler, TaskSampler, episode_return
from metarlhf.types import Task, Trajectory

# Pays trajectories of several tasks anew: dimensions (task, episode, time) in and out.
RewardSource = Callable[[Trajectory], Trajectory]


def new_agent(key: PRNGKeyArray, spaces: Spaces, config: MetaRLConfig) -> Agent:
    """An untrained agent as `config` says, which fits an environment's spaces."""
    by_context = config.adapts == "context"
    return build_agent(
        key,
        spaces,
        config.hidden,
        config.context_size if by_context else 0,
        learns_context=by_context,
        initial_std=config.initial_std,
        normalise_obs=config.normalise_obs,
    )


def inner_loss(policy: Distribution, samples: Samples, config: MetaRLConfig) -> Float[Array, ""]:
    """What an inner step descends, of what the policy says to `samples`.

    Estimators differ in its second derivative alone, without discounting (see `estimators`).
    """
    log_prob = policy.log_prob(samples.action)
    match config.inner_estimator:
        case "ratio":
            return lvc_loss(log_prob, samples.log_prob, samples.advantage)
        case "dice":
            return dice_loss(log_prob, samples.paid)
        case "loaded-dice":
            return loaded_dice_loss(log_prob, samples.advantage, config.gae_lambda)
    return log_prob_loss(log_prob, samples.advantage)


def gradient_step(
    agent: Agent,
    rule_state: optax.OptState,
    samples: Samples,
    rule: optax.GradientTransformation,
    config: MetaRLConfig,
) -> tuple[Agent, optax.OptState]:
    """One inner step of the policy, or of its part that adapts (see `adapted`).

    The value function is left as it is (see `baseline`).
    """
    return step_and_policy(agent, rule_state, samples, rule, config)[:2]


def step_and_policy(
    agent: Agent,
    rule_state: optax.OptState,
    samples: Samples,
    rule: optax.GradientTransformation,
    config: MetaRLConfig,
) -> tuple[Agent, optax.OptState, Distribution]:
    """`gradient_step`, and what the policy before it said to `samples`: it comes at no cost."""
    moved, kept = split(agent.actor, config)

    def loss(moved):
        policy = eqx.combine(moved, kept)(samples.obs)[0]
        return inner_loss(policy, samples, config), policy

    gradient, policy = jax.grad(loss, has_aux=True)(moved)
    if config.method == "fomaml":
        gradient = jax.lax.stop_gradient(gradient)
    moved, rule_state = optimise.step(rule, gradient, rule_state, moved)
    return Agent(eqx.combine(moved, kept), agent.critic), rule_state, policy


class InnerLoop(NamedTuple):
    """What an inner loop leaves, for each task."""

    agents: Agent
    """The policies that collected, before any step and after each: leading (step + 1, task)."""
    support: Samples
    """What each step learned from, paid by the inner reward: leading (step, task)."""
    query: Samples
    """What came after each step, paid by the outer reward: leading (step, task)."""
    played: Trajectory
    """The episodes themselves: leading (collection, task, episode), a collection before any step
    and one after each."""

    @property
    def returns(self) -> Float[Array, "collection task episode"]:
        """True returns of all episodes."""
        return episode_return(self.played)


def judge_tasks(agents: Agent, trajectory: Trajectory, config: MetaRLConfig) -> Samples:
    """What each task's agent learns from, of trajectories of dimensions (task, episode, time)."""
    one = partial(
        judge,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        normalise=config.normalise_advantage,
        ridge=config.baseline_ridge,
    )
    return jax.vmap(one)(agents, trajectory)


def begin_tasks(agents: Agent, learned_rule: LearnedRule, config: MetaRLConfig) -> optax.OptState:
    """Where the update rule begins in each task."""
    rule = update_rule(learned_rule, config)
    return jax.vmap(lambda actor: begin(rule, actor, config))(agents.actor)


def step_tasks(
    agents: Agent,
    rule_states: optax.OptState,
    samples: Samples,
    learned_rule: LearnedRule,
    config: MetaRLConfig,
) -> tuple[Agent, optax.OptState]:
    """One gradient step in each task."""
    rule = update_rule(learned_rule, config)
    one = lambda agent, state, samples: gradient_step(agent, state, samples, rule, config)
    return jax.vmap(one)(agents, rule_states, samples)


# Between two collections by host simulators each piece is a program of its own.
_judge = partial(jax.jit, static_argnames=("config",))(judge_tasks)
_begin = partial(jax.jit, static_argnames=("config",))(begin_tasks)
_step = partial(jax.jit, static_argnames=("config",))(step_tasks)


def play_and_adapt(
    key: PRNGKeyArray,
    sampler: TaskSampler,
    tasks: Task,
    agents: Agent,
    learned_rule: LearnedRule,
    config: MetaRLConfig,
    steps: int,
    inner_reward: RewardSource | None = None,
    outer_reward: RewardSource | None = None,
) -> InnerLoop:
    """Collect and adapt `steps` times in each of `tasks`, and collect once more.

    Pure where the sampler is. Episodes between two steps serve twice: as the query of the step
    before and as the support of the next, and may be paid differently as either.

    Args:
        key: all randomness follows from it.
        sampler: who acts.
        tasks: leaves with a leading dimension `task`.
        agents: one for each task, likewise.
        learned_rule: what is meta-learned of the update rule.
        config: how gradient steps learn; `config.episodes` are collected in each task each time.
        steps: gradient steps.
        inner_reward: pays what gradient steps learn from (support); None leaves it as the tasks
            paid.
        outer_reward: pays what the outer loop learns from (query), likewise.
    """
    judge_all = judge_tasks if sampler.pure else _judge
    begin_all = begin_tasks if sampler.pure else _begin
    step_all = step_tasks if sampler.pure else _step

    def samples(agents, trajectory, reward):
        return judge_all(agents, reward(trajectory) if reward else trajectory, config=config)

    def collect(key, agents):
        trajectory = sampler.episodes(key, tasks, agents, config.episodes)
        support = samples(agents, trajectory, inner_reward)
        same = inner_reward is outer_reward
        query = support if same else samples(agents, trajectory, outer_reward)
        return support, query, trajectory

    def step(carry, key):
        agents, rule_states, support = carry
        agents, rule_states = step_all(agents, rule_states, support, learned_rule, config=config)
        next_support, query, played = collect(key, agents)
        return (agents, rule_states, next_support), (agents, support, query, played)

    keys = jax.random.split(key, steps + 1)
    support, _, before = collect(keys[0], agents)
    rule_states = begin_all(agents, learned_rule, config=config)
    scan: Any = jax.lax.scan if sampler.pure else _python_scan
    _, (adapted, supports, queries, after) = scan(step, (agents, rule_states, support), keys[1:])

    def with_first(first, rest):
        return jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), first, rest)

    return InnerLoop(with_first(agents, adapted), supports, queries, with_first(before, after))


def _python_scan(step: Any, carry: Any, xs: Any) -> Any:
    """`jax.lax.scan` of what cannot be traced."""
    outs = []
    for x in xs:
        carry, out = step(carry, x)
        outs.append(out)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outs)


@eqx.filter_jit
def adapt(
    key: PRNGKeyArray,
    sampler: CompiledTaskSampler,
    task: Task,
    agent: Agent,
    learned_rule: LearnedRule,
    config: MetaRLConfig,
    steps: int,
    reward: Callable[[Trajectory], Trajectory] | None = None,
) -> tuple[Agent, Float[Array, "collection episode"]]:
    """Adapt a meta-learned agent to one task. Pure; vmap it over held-out tasks.

    Args:
        key: all randomness follows from it.
        sampler: who acts.
        task: without a leading dimension, as is `agent`.
        agent: where gradient steps begin.
        learned_rule: what is meta-learned of the update rule.
        config: how gradient steps learn.
        steps: so many of them.
        reward: pays trajectories of dimensions (episode, time); None leaves them as the task paid.

    Returns:
        The agents before any and after each gradient step, stacked, and the true returns of
        `config.episodes` episodes by each, shape (steps + 1, episodes).
    """

    def one(tree):
        return jax.tree.map(lambda x: x[None], tree)

    pay = reward and (lambda t: one(reward(jax.tree.map(lambda x: x[0], t))))
    loop = play_and_adapt(
        key, sampler, one(task), one(agent), learned_rule, config, steps, pay, pay
    )
    return jax.tree.map(lambda x: x[:, 0], loop.agents), loop.returns[:, 0]
