"""Meta-training of how PPO learns: evolution, judged by what PPO reaches with a candidate.

What is searched for is an optimiser (OPEN: Goldie et al. 2024) or a drift (LPO: Lu et al. 2022).

A learned optimiser begins as Adam: regression on what Adam did in recorded trainings.

Evolution finds its way from there to what is better. From random weights it would first have to
find out that gradients point downhill, which takes most of its generations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, Key, PRNGKeyArray, PyTree

from metarlhf import optimise, ppo
from metarlhf.contrib import evolution
from metarlhf.contrib.config import EvolutionConfig, ImitationConfig
from metarlhf.contrib.evolution import EvolutionState
from metarlhf.contrib.learned_optimiser import (
    DECAYS,
    EXPONENT,
    NUM_FEATURES,
    STEP,
    LearnedOptimiser,
    Schedule,
    flatten,
    see,
    size,
)
from metarlhf.envs.base import Environment
from metarlhf.ppo.train import LearnedUpdate, adam, shortened
from metarlhf.sampling import EVALUATION, CompiledSampler
from metarlhf.sampling.compiled import evaluate
from metarlhf.types import Task


@dataclass(frozen=True)
class Trial:
    """Trainings that a candidate is judged by: on tasks of `family`, drawn anew each time."""

    family: Environment
    config: ppo.PPOConfig
    tasks: int = 1
    """So many of them; their mean counts."""


def trained_return(
    learned: LearnedUpdate | None, key: PRNGKeyArray, trial: Trial
) -> Float[Array, ""]:
    """The mean return after PPO with `learned`, or as it is, from beginning to end. Pure."""

    def one(key):
        task_key, key = jax.random.split(key)
        return return_in(learned, key, trial, trial.family.sample(task_key))

    return jax.vmap(one)(jax.random.split(key, trial.tasks)).mean()


def return_in(
    learned: LearnedUpdate | None, key: PRNGKeyArray, trial: Trial, task: Task
) -> Float[Array, ""]:
    """The same of one task."""
    family, config = trial.family, trial.config
    state = ppo.init(key, CompiledSampler(family, task, config.num_envs), config, learned=learned)
    state, _ = ppo.iterate_many(
        state, CompiledSampler(family, task, config.num_envs), config, config.num_updates
    )
    key = jax.random.fold_in(state.key, EVALUATION)
    return evaluate(key, family, task, state.agent.actor, config.evaluation_episodes).mean()


def returns(
    learned: LearnedUpdate | None, key: PRNGKeyArray, trials: Sequence[Trial]
) -> Float[Array, " trial"]:
    """That of each of `trials`, on its own seed."""
    keys = jax.random.split(key, len(trials))
    return jnp.stack([trained_return(learned, k, t) for k, t in zip(keys, trials, strict=True)])


def generation(
    state: EvolutionState, trials: Sequence[Trial], config: EvolutionConfig
) -> tuple[EvolutionState, dict[str, Float[Array, " trial"]]]:
    """One generation. Pure.

    Returns besides, for each trial, the population's mean `return`, and PPO's own on the same seed
    (`plain`), which says what the former is worth: `config`'s shaping takes no notice of it. Means
    are over candidates that came to a number; `diverged` is the share of the others.
    """
    plain = returns(None, evolution.judge_key(state), trials)
    fitness = lambda learned, key: returns(learned, key, trials)
    state, found = evolution.generation(state, fitness, config)
    sound = jnp.isfinite(found)
    mean = jnp.where(sound, found, 0.0).sum(axis=0) / sound.sum(axis=0)
    return state, {"return": mean, "plain": plain, "diverged": 1.0 - sound.mean(axis=0)}


def search(
    state: EvolutionState, trials: Sequence[Trial], config: EvolutionConfig
) -> Iterator[tuple[EvolutionState, dict[str, list[float]]]]:
    """Generation after generation, without an end: stop iterating to stop, keep a state to resume.

    Yields the state, and what `generation` says of it.
    """
    step = jax.jit(lambda state: generation(state, trials, config))
    while True:
        state, found = step(state)
        yield state, {name: each.tolist() for name, each in found.items()}


class Recorded(NamedTuple):
    """What some parameters saw, and what Adam did with them."""

    features: Float[Array, "parameter step 19"]
    move: Float[Array, "parameter step"]
    """In units of a learned optimiser's step."""


class _Watched(NamedTuple):
    inner: optax.OptState
    momenta: Float[Array, "parameter 6"]
    count: Integer[Array, ""]
    recorded: Recorded


def _watching(
    inner: optax.GradientTransformation,
    schedule: Schedule,
    chosen: Integer[Array, " parameter"],
    steps: int,
) -> optax.GradientTransformation:
    """`inner`, and a record of what it is given and does to the `chosen` parameters."""

    def init(params):
        count = len(chosen)
        blank = Recorded(jnp.zeros((count, steps, NUM_FEATURES)), jnp.zeros((count, steps)))
        momenta = jnp.zeros((size(params), len(DECAYS)))
        return _Watched(inner.init(params), momenta, jnp.zeros((), jnp.int32), blank)

    def step(updates, state, params=None):
        seen = see(params, updates, state.momenta, schedule.progress(state.count))
        moves, inner_state = inner.update(updates, state.inner, params)
        move = flatten(moves)[chosen] / STEP
        recorded = Recorded(
            state.recorded.features.at[:, state.count].set(seen.features[chosen]),
            state.recorded.move.at[:, state.count].set(move),
        )
        return moves, _Watched(inner_state, seen.momenta, state.count + 1, recorded)

    return optax.GradientTransformation(init, step)


@partial(jax.jit, static_argnames=("trial", "count"))
def record(
    keys: Key[Array, " task"],
    tasks: Task,
    trial: Trial,
    chosen: Integer[Array, " parameter"],
    count: int,
) -> Recorded:
    """PPO with Adam on each of `tasks`: leaves of shape (task, parameter, step, ...)."""
    family, config = trial.family, trial.config
    schedule = Schedule(config.num_updates, config.epochs, config.minibatches)
    rule = shortened(_watching(adam(config), schedule, chosen, count), config)

    def one(key, task) -> Recorded:
        state = ppo.init(key, CompiledSampler(family, task, config.num_envs), config)
        begun = optimise.begin(rule, state.agent)
        state = eqx.tree_at(lambda s: s.optimiser, state, begun)

        def iterate(state, _):
            state, trajectory = ppo.play(
                state, CompiledSampler(family, task, config.num_envs), config
            )
            return ppo.learn(state, trajectory, config, rule)[0], None

        state, _ = jax.lax.scan(iterate, state, length=config.num_updates)
        _, watched = cast(tuple[Any, _Watched], state.optimiser)
        return watched.recorded

    return jax.lax.map(lambda x: one(*x), (keys, tasks))


def recordings(
    key: PRNGKeyArray, trials: tuple[Trial, ...], config: ImitationConfig
) -> list[Recorded]:
    """Of each trial, all tasks' parameters in one row."""
    found = []
    for trial, trial_key in zip(trials, jax.random.split(key, len(trials)), strict=True):
        task_key, choose_key, agent_key, train_key = jax.random.split(trial_key, 4)
        tasks = jax.vmap(trial.family.sample)(jax.random.split(task_key, config.tasks))
        some = jax.tree.map(lambda x: x[0], tasks)
        agent = ppo.init(
            agent_key, CompiledSampler(trial.family, some, trial.config.num_envs), trial.config
        ).agent
        chosen = chosen_of(choose_key, agent, config.parameters)
        keys = jax.random.split(train_key, config.tasks)
        count = trial.config.num_updates * trial.config.epochs * trial.config.minibatches
        each = record(keys, tasks, trial, chosen, count)
        found.append(jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), each))
    return found


def chosen_of(key: PRNGKeyArray, params: PyTree, count: int) -> Integer[Array, " parameter"]:
    """So many parameters, drawn from all tensors alike, however large."""
    rare = lambda leaf: jnp.full(leaf.shape, 1.0 / max(1, leaf.size))
    tensor = flatten(jax.tree.map(rare, params))
    return jax.random.choice(key, len(tensor), (count,), p=tensor / tensor.sum())


def said(network: LearnedOptimiser, features: Float[Array, "step 19"]) -> Float[Array, "step 3"]:
    """What it says of one parameter through a whole training."""

    def step(memory, features):
        out, memory = network(features, memory)
        return memory, out

    return jax.lax.scan(step, jnp.zeros(network.shape.memory), features)[1]


def unlike(network: LearnedOptimiser, recorded: Recorded) -> Float[Array, ""]:
    """The share of Adam's squared moves that it misses; noise counts as a miss."""
    out = jax.vmap(partial(said, network))(recorded.features)
    move = out[..., 0] * jnp.exp(EXPONENT * out[..., 1])
    missed = jnp.mean((-move - recorded.move) ** 2 + out[..., 2] ** 2)
    return missed / jnp.mean(recorded.move**2)


def imitate(
    key: PRNGKeyArray,
    network: LearnedOptimiser,
    recorded: list[Recorded],
    config: ImitationConfig,
) -> tuple[LearnedOptimiser, Float[np.ndarray, " step"]]:
    """`network` after it has studied what was `recorded`, and how unlike Adam it was meanwhile."""
    rule = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(config.lr, config.steps)),
    )

    share = config.batch // len(recorded)

    def loss(network, batches):
        return sum(unlike(network, batch) for batch in batches) / len(batches)

    def step(carry, key):
        network, state = carry

        def some(key, recorded):
            at = jax.random.choice(key, len(recorded.move), (share,))
            return jax.tree.map(lambda x: x[at], recorded)

        batches = list(map(some, jax.random.split(key, len(recorded)), recorded))
        value, gradient = jax.value_and_grad(loss)(network, batches)
        return optimise.step(rule, gradient, state, network), value

    start = (network, optimise.begin(rule, network))
    (network, _), values = jax.jit(
        lambda start: jax.lax.scan(step, start, jax.random.split(key, config.steps))
    )(start)
    return network, np.asarray(values)
