"""Meta-training of how PPO learns: evolution, judged by what PPO reaches with a candidate.

What is searched for is an optimiser (OPEN: Goldie et al. 2024) or a drift (LPO: Lu et al. 2022).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Environment
from metarlhf.meta import evolution
from metarlhf.meta.evolution import EvolutionConfig, EvolutionState
from metarlhf.networks import Learned
from metarlhf.rollout import EVALUATION, evaluate
from metarlhf.types import Task


@dataclass(frozen=True)
class Trial:
    """Trainings that a candidate is judged by: on tasks of `family`, drawn anew each time."""

    family: Environment
    config: ppo.PPOConfig
    tasks: int = 1
    """So many of them; their mean counts."""


def trained_return(learned: Learned | None, key: PRNGKeyArray, trial: Trial) -> Float[Array, ""]:
    """The mean return after PPO with `learned`, or as it is, from beginning to end. Pure."""

    def one(key):
        task_key, key = jax.random.split(key)
        return return_in(learned, key, trial, trial.family.sample(task_key))

    return jax.vmap(one)(jax.random.split(key, trial.tasks)).mean()


def return_in(
    learned: Learned | None, key: PRNGKeyArray, trial: Trial, task: Task
) -> Float[Array, ""]:
    """The same of one task."""
    family, config = trial.family, trial.config
    state = ppo.init(key, family, task, config, learned=learned)
    state, _ = ppo.iterate_many(state, family, task, config, config.num_updates)
    key = jax.random.fold_in(state.key, EVALUATION)
    return evaluate(key, family, task, state.agent.actor, config.evaluation_episodes).mean()


def returns(
    learned: Learned | None, key: PRNGKeyArray, trials: Sequence[Trial]
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
