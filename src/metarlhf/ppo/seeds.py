"""Many seeds in one compiled program: what training does with one, side by side."""

from collections.abc import Iterator
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from metarlhf.envs.base import Environment
from metarlhf.networks import Learned
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.train import TrainState, init, iterate_many
from metarlhf.rollout import EVALUATION, evaluate
from metarlhf.statistics import Interval, interquartile_mean
from metarlhf.types import Task


@partial(jax.jit, static_argnames=("family", "config"))
def init_seeds(
    keys: Key[Array, " seed"],
    family: Environment,
    task: Task,
    config: PPOConfig,
    learned: Learned | None = None,
) -> TrainState:
    """A start for each of `keys`; leaves have a leading dimension `seed`."""
    return jax.vmap(lambda key: init(key, family, task, config, learned=learned))(keys)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def iterate_seeds(
    states: TrainState, family: Environment, task: Task, config: PPOConfig, updates: int
) -> tuple[TrainState, dict[str, Float[Array, "seed update"]]]:
    """Several updates of every seed, and the metrics of each."""
    return jax.vmap(lambda state: iterate_many(state, family, task, config, updates))(states)


@partial(jax.jit, static_argnames=("family", "episodes"))
def evaluate_seeds(
    states: TrainState, family: Environment, task: Task, episodes: int
) -> Float[Array, " seed"]:
    """The mean true return of each seed's policy, over episodes apart from training."""

    def one(state: TrainState) -> Float[Array, ""]:
        key = jax.random.fold_in(state.key, EVALUATION)
        return evaluate(key, family, task, state.agent.actor, episodes).mean()

    return jax.vmap(one)(states)


def train_seeds(
    states: TrainState, family: Environment, task: Task, config: PPOConfig
) -> Iterator[tuple[TrainState, Float[np.ndarray, " seed"], Interval]]:
    """Train all seeds until the budget is spent.

    Yields after every `evaluate_every` updates the states, each seed's return, and the returns'
    interquartile mean with its 95 % bootstrap interval over seeds.
    """
    done = int(np.max(states.updates))
    while done < config.num_updates:
        updates = min(config.evaluate_every, config.num_updates - done)
        states, _ = iterate_seeds(states, family, task, config, updates)
        returns = np.asarray(evaluate_seeds(states, family, task, config.evaluation_episodes))
        done += updates
        yield states, returns, interquartile_mean(returns)
