"""The outer loop: a meta-update from the inner loops of a batch of tasks.

Collect, then learn: the inner loops' episodes are stored; the loss recomputes the inner updates
from them as a function of the initialisation and the update rule, and is differentiated through
that.
"""

from collections.abc import Iterator
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf import optimise
from metarlhf.envs.base import Spaces, TaskFamily
from metarlhf.meta.baseline import Samples, regression
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import InnerLoop, RewardSource, gradient_step, play_and_adapt
from metarlhf.meta.update_rules import LearnedRule, initial_rule, update_rule
from metarlhf.networks import Agent, build_agent
from metarlhf.ppo.objectives import adapt_kl_coefficient, clipped_surrogate
from metarlhf.types import Task

Metrics = dict[str, Float[Array, ""]]
Learned = tuple[Agent, LearnedRule]


class MetaRLState(eqx.Module):
    """All there is to know to go on meta-training."""

    agent: Agent
    rule: LearnedRule
    optimiser: optax.OptState
    kl_coefficient: Float[Array, " inner_step"]
    iteration: Integer[Array, ""]
    key: PRNGKeyArray


def optimiser(config: MetaRLConfig) -> optax.GradientTransformation:
    """Adam, with a step size of its own for learned step sizes."""
    updates = config.iterations * config.epochs

    def schedule(lr):
        return optax.linear_schedule(lr, 0.0, updates) if config.anneal_lr else lr

    return optax.multi_transform(
        {
            "parameters": optax.adam(schedule(config.lr)),
            "step sizes": optax.adam(schedule(config.step_size_lr)),
        },
        # By position, as prefixes of (agent, rule): an agent and an offset are parameters.
        ("parameters", LearnedRule("step sizes", "parameters")),
    )


def init(
    key: PRNGKeyArray,
    family: Spaces,
    config: MetaRLConfig,
    agent: Agent | None = None,
) -> MetaRLState:
    """Start meta-training `agent`, or a fresh one."""
    agent_key, key = jax.random.split(key)
    if agent is None:
        agent = build_agent(agent_key, family, config.hidden, initial_std=config.initial_std)
    rule = initial_rule(agent.actor, config)
    return MetaRLState(
        agent=agent,
        rule=rule,
        optimiser=optimise.begin(optimiser(config), (agent, rule)),
        kl_coefficient=jnp.full(config.inner_steps, config.kl_coefficient, float),
        iteration=jnp.zeros((), jnp.int32),
        key=key,
    )


def task_loss(
    learned: Learned,
    support: Samples,
    query: Samples,
    kl_coefficient: Float[Array, " inner_step"],
    config: MetaRLConfig,
) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " inner_step"]]]:
    """ProMP's objective for one task (Rothfuss et al. 2019, section 6), and each inner step's KL.

    Recomputes the inner steps from `support` and judges what they lead to by `query`, both with the
    inner step as leading dimension. Each step is rematerialised: memory grows with the number of
    steps only by the parameters between them.
    """
    agent, learned_rule = learned
    rule = update_rule(learned_rule, config)

    @jax.checkpoint
    def step(carry, data):
        agent, rule_state = carry
        support, query = data
        kl = jnp.mean(support.weight * support.policy.kl(agent.actor(support.obs)[0]))
        agent, rule_state = gradient_step(agent, rule_state, support, rule, config)
        log_ratio = agent.actor(query.obs)[0].log_prob(query.action) - query.log_prob
        surrogate = clipped_surrogate(log_ratio, query.advantage, config.clip)
        return (agent, rule_state), (kl, surrogate, regression(agent.critic, query))

    _, (kl, surrogate, value_loss) = jax.lax.scan(
        step, (agent, optimise.begin(rule, agent.actor)), (support, query)
    )
    judged = jnp.mean if config.judge_every_step else lambda each: each[-1]
    loss = judged(surrogate) + jnp.sum(kl_coefficient * kl)
    loss += config.value_coefficient * judged(value_loss)
    return loss, ({"surrogate": judged(surrogate), "value_loss": judged(value_loss)}, kl)


def meta_loss(
    learned: Learned,
    loop: InnerLoop,
    kl_coefficient: Float[Array, " inner_step"],
    config: MetaRLConfig,
) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " inner_step"]]]:
    """Mean of `task_loss` over tasks: a pure function of what is learned and what was collected."""

    def loss(support, query):
        return task_loss(learned, support, query, kl_coefficient, config)

    losses, aux = jax.vmap(loss, (1, 1))(loop.support, loop.query)
    return losses.mean(), jax.tree.map(lambda x: x.mean(0), aux)


def meta_iterate(
    state: MetaRLState, family: TaskFamily, config: MetaRLConfig
) -> tuple[MetaRLState, Metrics]:
    """One meta-update on new tasks, paid as they pay. Pure."""
    key, task_key, play_key = jax.random.split(state.key, 3)
    tasks = jax.vmap(family.sample)(jax.random.split(task_key, config.meta_batch))
    state, _, metrics = meta_step(play_key, state, family, config, tasks)
    return eqx.tree_at(lambda s: s.key, state, key), metrics


def meta_step(
    key: PRNGKeyArray,
    state: MetaRLState,
    family: TaskFamily,
    config: MetaRLConfig,
    tasks: Task,
    inner_reward: RewardSource | None = None,
    outer_reward: RewardSource | None = None,
) -> tuple[MetaRLState, InnerLoop, Metrics]:
    """Inner loops in a batch of tasks, then `epochs` meta-gradient steps on their data. Pure.

    Args:
        key: for the episodes that are played.
        state: where meta-training stands.
        family: whose tasks these are.
        config: of the same methods and shapes as `state` was begun with.
        tasks: `config.meta_batch` of them.
        inner_reward: pays what the inner steps learn from, dimensions (task, episode, time); None
            leaves it as the tasks paid.
        outer_reward: likewise what the meta-update learns from.

    Metrics hold the true mean return before adaptation (`return_before`) and after it (`return`).
    """
    count = config.meta_batch
    agents = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state.agent)
    loop = play_and_adapt(
        key, family, tasks, agents, state.rule, config, config.inner_steps, inner_reward,
        outer_reward,
    )  # fmt: skip
    state, metrics = learn(state, loop, config)
    state = eqx.tree_at(lambda s: s.iteration, state, state.iteration + 1)
    return (
        state,
        loop,
        metrics
        | {
            "return_before": loop.returns[0].mean(),
            "return": loop.returns[-1].mean(),
        },
    )


def learn(
    state: MetaRLState,
    loop: InnerLoop,
    config: MetaRLConfig,
) -> tuple[MetaRLState, Metrics]:
    """`epochs` Adam steps on the collected inner loops. Metrics are those of the last step."""
    # One scale for all tasks and steps: Adam does not mind it, but clip and penalties should not
    # depend on the units of reward.
    scale = jnp.sqrt(jnp.mean(loop.query.advantage**2 / jnp.maximum(loop.query.weight, 1e-8)))
    loop = eqx.tree_at(lambda x: x.query.advantage, loop, loop.query.advantage / (scale + 1e-8))

    def epoch(carry, _):
        learned, optimiser_state = carry
        gradient, (metrics, kl) = jax.grad(meta_loss, has_aux=True)(
            learned, loop, state.kl_coefficient, config
        )
        metrics |= {"meta_gradient_norm": optax.tree.norm((gradient[0].actor, gradient[1]))}
        return optimise.step(optimiser(config), gradient, optimiser_state, learned), (metrics, kl)

    (learned, optimiser_state), (metrics, kl) = jax.lax.scan(
        epoch, ((state.agent, state.rule), state.optimiser), length=config.epochs
    )
    metrics, kl = jax.tree.map(lambda x: x[-1], (metrics, kl))
    coefficient = state.kl_coefficient
    if config.kl_target:
        adapted = jax.vmap(partial(adapt_kl_coefficient, target=config.kl_target))
        coefficient = adapted(coefficient, kl)
    agent, rule = learned
    state = MetaRLState(agent, rule, optimiser_state, coefficient, state.iteration, state.key)
    return state, metrics | {"kl": kl.mean()}


@partial(jax.jit, static_argnames=("family", "config", "iterations"))
def _iterate_many(state, family, config, iterations):
    def step(state, _):
        return meta_iterate(state, family, config)

    return jax.lax.scan(step, state, length=iterations)


def meta_train(
    state: MetaRLState, family: TaskFamily, config: MetaRLConfig, every: int = 10
) -> Iterator[tuple[MetaRLState, dict[str, float]]]:
    """Meta-train on the tasks' own reward until `config.iterations` are done.

    Yields the state and the mean metrics of every `every` iterations: stop iterating to stop, keep
    a state to go on from it.
    """
    while int(state.iteration) < config.iterations:
        count = min(every, config.iterations - int(state.iteration))
        state, metrics = _iterate_many(state, family, config, count)
        yield (
            state,
            {
                "iteration": int(state.iteration),
                **{name: float(values.mean()) for name, values in metrics.items()},
            },
        )
