"""The outer loop: a meta-update from the inner loops of a batch of tasks.

Collect, then learn: the inner loops' episodes are stored, and one of the `outer_steps` moves the
initialisation and the update rule by them. So the learning half is one pure function of what was
collected, whoever acted. Host simulators begin all episodes of a collection anew, from a seed that
follows from the state's key: nothing of a simulator has to be saved, and training that goes on from
a saved state is bit for bit what it would have been without the stop.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import optimise
from metarlhf.devices import on_all, spread
from metarlhf.envs.base import Spaces, Tasks
from metarlhf.envs.registry import check_name
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.guided import Experts, advise, guided_step
from metarlhf.meta.inner import InnerLoop, RewardSource, new_agent, play_and_adapt
from metarlhf.meta.objective import Metrics
from metarlhf.meta.outer_steps import MetaRLState, optimiser, outer_step
from metarlhf.meta.prior import GradientPrior, GradientShape
from metarlhf.meta.tasks import for_each
from metarlhf.meta.update_rules import RULE, initial_rule
from metarlhf.networks import Agent, Distribution
from metarlhf.sampling import TaskSampler
from metarlhf.training import Loop
from metarlhf.training import iterate as run
from metarlhf.types import Task


def init(
    key: PRNGKeyArray,
    family: Spaces,
    config: MetaRLConfig,
    agent: Agent | None = None,
) -> MetaRLState:
    """Begin meta-training `agent`, or a fresh one.

    Args:
        key: all randomness follows from it.
        family: whose tasks it is meta-trained on.
        config: how it is meta-trained.
        agent: an agent to go on from; None for an untrained one.

    Raises:
        ValueError: a context is to adapt, and `agent` has none that learns.
    """
    agent_key, key = jax.random.split(key)
    if agent is not None and config.adapts == "context" and not agent.actor.body.learns_context:
        raise ValueError(
            "adapts is context, but this agent has no context that learns: build it with "
            "meta.inner.new_agent, or choose adapts policy or head"
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
    state: MetaRLState, sampler: TaskSampler, config: MetaRLConfig, experts: Experts | None = None
) -> tuple[MetaRLState, Metrics]:
    """One meta-update on new tasks, paid as they pay. Pure where the sampler is.

    Args:
        state: where meta-training stands.
        sampler: who acts.
        config: how it is meta-trained.
        experts: of some tasks, which are then played and imitated (`config.method` guided).

    Returns:
        The state after the meta-update, and its metrics, see `meta_step`.
    """
    key, task_key, play_key = jax.random.split(state.key, 3)
    if experts is None:
        tasks = sampler.sample_tasks(task_key, config.meta_batch)
    else:
        experts = experts.some(task_key, config.meta_batch)
        tasks = experts.tasks
    state, _, metrics = meta_step(play_key, state, sampler, config, tasks, experts=experts)
    return eqx.tree_at(lambda s: s.key, state, key), metrics


def meta_step(
    key: PRNGKeyArray,
    state: MetaRLState,
    sampler: TaskSampler,
    config: MetaRLConfig,
    tasks: Task,
    inner_reward: RewardSource | None = None,
    outer_reward: RewardSource | None = None,
    experts: Experts | None = None,
) -> tuple[MetaRLState, InnerLoop, Metrics]:
    """Inner loops in a batch of tasks, then a meta-update by their data. Pure where the sampler is.

    Args:
        key: for the episodes that are played.
        state: where meta-training stands.
        sampler: who acts.
        config: of the same methods and shapes as `state` was begun with.
        tasks: `config.meta_batch` of them.
        inner_reward: pays what the inner steps learn from, dimensions (task, episode, time); None
            leaves it as the tasks paid.
        outer_reward: likewise what the meta-update learns from.
        experts: of these very tasks, for guided meta-training.

    Returns:
        The state after the meta-update, what the inner loops left, and metrics, among them the true
        mean return before adaptation (`return_before`) and after it (`return`).
    """
    update, advise_all = (learn, advise) if sampler.pure else (_compiled_learn, _compiled_advise)
    agents = for_each(config.meta_batch, state.agent)
    loop = play_and_adapt(
        key, sampler, spread(tasks), spread(agents), state.rule, config, config.inner_steps,
        inner_reward, outer_reward,
    )  # fmt: skip
    advice = None if experts is None else advise_all(experts, loop, std=config.advice_std)
    state, metrics = update(state, loop, config=config, advice=advice)
    state = eqx.tree_at(lambda s: s.iteration, state, state.iteration + 1)
    returns = {"return_before": loop.returns[0].mean(), "return": loop.returns[-1].mean()}
    return state, loop, metrics | returns


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


_compiled_init = partial(jax.jit, static_argnames=("family", "config"))(init)
_compiled_learn = partial(jax.jit, static_argnames=("config",))(learn)
_compiled_advise = partial(jax.jit, static_argnames=("std",))(advise)


def iterate(
    state: MetaRLState,
    sampler: TaskSampler,
    config: MetaRLConfig,
    iterations: int = 1,
    experts: Experts | None = None,
) -> tuple[MetaRLState, dict[str, Float[Array, " iteration"]]]:
    """So many times `meta_iterate`; of a pure sampler one program, on all devices.

    Returns the state, and metrics of each iteration.
    """
    if sampler.pure:
        run = on_all(partial(_iterate, config, iterations), config.meta_batch)
        return run(state, sampler, experts)
    rows = []
    for _ in range(iterations):
        state, metrics = meta_iterate(state, sampler, config, experts)
        rows.append(metrics)
    return state, jax.tree.map(lambda *x: jnp.stack(x), *rows)


@partial(jax.jit, static_argnums=(0, 1))
def _iterate(config, iterations, state, sampler, experts):
    step = lambda state, _: meta_iterate(state, sampler, config, experts)
    return jax.lax.scan(step, state, length=iterations)


def training(
    key: PRNGKeyArray,
    sampler: TaskSampler,
    config: MetaRLConfig,
    experts: Experts | None = None,
    every: int = 1,
) -> Loop[MetaRLState]:
    """Meta-training on the tasks' own reward, as a `training.Loop`.

    Args:
        key: all randomness follows from it.
        sampler: who acts.
        config: how it is meta-trained.
        experts: see `meta_iterate`.
        every: iterations of a step, over which its metrics are means.

    Raises:
        ValueError: `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, but is {every}")
    steps = config.episodes_of_iteration * sampler.horizon
    spent = {} if experts is None else {"expert_steps": experts.count * config.expert_steps}

    def step(state: MetaRLState, done: int) -> tuple[MetaRLState, dict[str, Any]]:
        count = min(every, config.iterations - int(state.iteration))
        state, metrics = iterate(state, sampler, config, count, experts)
        means = {name: float(values.mean()) for name, values in metrics.items()}
        return state, {"steps": int(state.iteration) * steps} | means | spent

    return Loop(
        start=lambda: _compiled_init(key, sampler.family, config),
        step=step,
        total=-(-config.iterations // every),
        unit="iterations" if every == 1 else f"times {every} iterations",
    )


def meta_train(
    state: MetaRLState,
    sampler: TaskSampler,
    config: MetaRLConfig,
    every: int = 10,
    experts: Experts | None = None,
) -> Iterator[tuple[MetaRLState, dict[str, Any]]]:
    """Meta-train on the tasks' own reward until `config.iterations` are done.

    Args: as of `training`; `state` is from `init`, or one that was yielded before.

    Yields:
        The state and the mean metrics of every `every` iterations: stop iterating to stop, keep a
        state to go on from it.

    Raises:
        ValueError: `every` is below 1.
        DivergedError: the state or a return is no number any more.
    """
    loop = training(state.key, sampler, config, experts, every)
    left = -(-(config.iterations - int(state.iteration)) // every)
    for after, metrics in run(loop, state, done=loop.total - left):
        yield after, {"iteration": int(after.iteration)} | metrics


def prior_of(state: MetaRLState, family: Tasks, config: MetaRLConfig) -> GradientPrior:
    """What has been meta-learned so far, to adapt to new tasks from.

    Raises:
        ValueError: the family's name stands for another one, see `envs.check_name`.
    """
    check_name(family)
    shape = GradientShape(family.name, config)
    return GradientPrior(agent=state.agent, rule=state.rule, belief=None, library=None, shape=shape)
