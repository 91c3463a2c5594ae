"""The outer loop: a meta-update from the inner loops of a batch of tasks.

Collect, then learn: the inner loops' episodes are stored, and one of the `outer_steps` moves the
initialisation and the update rule by them.
"""

from collections.abc import Iterator
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import optimise
from metarlhf.devices import on_all, spread
from metarlhf.envs.base import Spaces, TaskFamily
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.guided import guided_step
from metarlhf.meta.inner import InnerLoop, RewardSource, play_and_adapt
from metarlhf.meta.objective import Metrics
from metarlhf.meta.outer_steps import MetaRLState, optimiser, outer_step
from metarlhf.meta.tasks import for_each
from metarlhf.meta.update_rules import RULE, initial_rule
from metarlhf.networks import Agent, Distribution, build_agent
from metarlhf.types import Task


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


def init(
    key: PRNGKeyArray,
    family: Spaces,
    config: MetaRLConfig,
    agent: Agent | None = None,
) -> MetaRLState:
    """Start meta-training `agent`, or a fresh one.

    Raises:
        ValueError: a context is to adapt, and `agent` has none that learns.
    """
    agent_key, key = jax.random.split(key)
    if agent is not None and config.adapts == "context" and not agent.actor.body.learns_context:
        raise ValueError(
            "adapts is context, but this agent has no context that learns: build it with "
            "meta.outer.new_agent, or choose adapts policy or head"
        )
    if agent is None:
        agent = new_agent(agent_key, family, config)
    rule = initial_rule(jax.random.fold_in(agent_key, RULE), agent.actor, config)
    return MetaRLState(
        agent=agent,
        rule=rule,
        optimiser=optimise.begin(optimiser(config), (agent, rule)),
        kl_coefficient=jnp.full(config.inner_steps, config.kl_coefficient, float),
        iteration=jnp.zeros((), jnp.int32),
        key=key,
    )


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
    """Inner loops in a batch of tasks, then a meta-update by their data. Pure.

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
    agents = for_each(count, state.agent)
    loop = play_and_adapt(
        key, family, spread(tasks), spread(agents), state.rule, config, config.inner_steps,
        inner_reward, outer_reward,
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
    state: MetaRLState, loop: InnerLoop, config: MetaRLConfig, advice: Distribution | None = None
) -> tuple[MetaRLState, Metrics]:
    """The meta-update from collected inner loops, see `outer_steps`; or, where there is `advice`
    of an expert, `guided`.
    """
    # One scale for all tasks and steps: Adam does not mind it, but clip and penalties should not
    # depend on the units of reward.
    scale = jnp.sqrt(jnp.mean(loop.query.advantage**2 / jnp.maximum(loop.query.weight, 1e-8)))
    loop = eqx.tree_at(lambda x: x.query.advantage, loop, loop.query.advantage / (scale + 1e-8))
    step = outer_step(config) if advice is None else partial(guided_step, advice=advice)
    state, metrics = step(state, loop, config)
    moments = state.agent.actor.body.moments
    if moments is not None:
        # After the update: what was collected was collected with the old ones.
        agent = state.agent.with_moments(moments.update(loop.played.obs))
        state = eqx.tree_at(lambda s: s.agent, state, agent)
    return state, metrics


def iterate(
    state: MetaRLState, family: TaskFamily, config: MetaRLConfig, iterations: int = 1
) -> tuple[MetaRLState, dict[str, Float[Array, " iteration"]]]:
    """So many times `meta_iterate`, compiled and on all devices; metrics are of each."""
    return on_all(partial(_iterate, family, config, iterations), config.meta_batch)(state)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _iterate(family, config, iterations, state):
    step = lambda state, _: meta_iterate(state, family, config)
    return jax.lax.scan(step, state, length=iterations)


def meta_train(
    state: MetaRLState, family: TaskFamily, config: MetaRLConfig, every: int = 10
) -> Iterator[tuple[MetaRLState, dict[str, float]]]:
    """Meta-train on the tasks' own reward until `config.iterations` are done.

    Yields the state and the mean metrics of every `every` iterations: stop iterating to stop, keep
    a state to go on from it.

    Raises:
        ValueError: `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, but is {every}")
    while int(state.iteration) < config.iterations:
        count = min(every, config.iterations - int(state.iteration))
        state, metrics = iterate(state, family, config, count)
        yield (
            state,
            {
                "iteration": int(state.iteration),
                **{name: float(values.mean()) for name, values in metrics.items()},
            },
        )
