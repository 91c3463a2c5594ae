"""Meta-training of a learned optimiser: evolution, judged by what PPO reaches with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Environment
from metarlhf.meta import evolution
from metarlhf.meta.evolution import EvolutionConfig, EvolutionState
from metarlhf.networks import LearnedOptimiser
from metarlhf.rollout import EVALUATION, evaluate


@dataclass(frozen=True)
class Trial:
    """A training that an optimiser is judged by: on a task of `family`, drawn anew each time."""

    family: Environment
    config: ppo.PPOConfig


def trained_return(
    learned: LearnedOptimiser | None, key: PRNGKeyArray, trial: Trial
) -> Float[Array, ""]:
    """The mean return after PPO with `learned`, or with Adam, from beginning to end. Pure."""
    family, config = trial.family, trial.config
    task_key, key = jax.random.split(key)
    task = family.sample(task_key)
    state = ppo.init(key, family, task, config, learned=learned)
    state, _ = ppo.iterate_many(state, family, task, config, config.num_updates)
    key = jax.random.fold_in(state.key, EVALUATION)
    return evaluate(key, family, task, state.agent.actor, config.evaluation_episodes).mean()


def returns(
    learned: LearnedOptimiser | None, key: PRNGKeyArray, trials: Sequence[Trial]
) -> Float[Array, " trial"]:
    """That of each of `trials`, on its own seed."""
    keys = jax.random.split(key, len(trials))
    return jnp.stack([trained_return(learned, k, t) for k, t in zip(keys, trials, strict=True)])


def search(
    state: EvolutionState, trials: Sequence[Trial], config: EvolutionConfig
) -> Iterator[tuple[EvolutionState, dict[str, list[float]]]]:
    """Generation after generation, without an end: stop iterating to stop, keep a state to resume.

    Yields besides, for each trial, the population's mean `return`, and Adam's on the same seed,
    which says what the former is worth. `config`'s shaping takes no notice of the latter.
    """
    fitness = lambda learned, key: returns(learned, key, trials)

    @jax.jit
    def step(state):
        # As `generation` splits its key: Adam meets the seeds that the candidates do.
        judge_key = jax.random.split(state.key, 3)[2]
        state, found = evolution.generation(state, fitness, config)
        return state, found.mean(axis=0), returns(None, judge_key, trials)

    while True:
        state, found, adam = step(state)
        yield state, {"return": found.tolist(), "adam": adam.tolist()}
