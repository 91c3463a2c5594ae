"""Many seeds in one compiled program: what training does with one, side by side."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Key

from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.train import LearnedUpdate, TrainState, has_converged, init, iterate_many
from metarlhf.sampling import EVALUATION, Sampler
from metarlhf.statistics import Interval, interquartile_mean
from metarlhf.training import Loop


@eqx.filter_jit
def init_seeds(
    keys: Key[Array, " seed"],
    sampler: Sampler,
    config: PPOConfig,
    learned: LearnedUpdate | None = None,
) -> TrainState:
    """A start for each of `keys`; leaves have a leading dimension `seed`."""
    return jax.vmap(lambda key: init(key, sampler, config, learned=learned))(keys)


@eqx.filter_jit
def iterate_seeds(
    states: TrainState, sampler: Sampler, config: PPOConfig, updates: int
) -> tuple[TrainState, dict[str, Float[Array, "seed update"]]]:
    """Several updates of every seed, and the metrics of each."""
    return jax.vmap(lambda state: iterate_many(state, sampler, config, updates))(states)


@eqx.filter_jit
def evaluate_seeds(states: TrainState, sampler: Sampler, episodes: int) -> Float[Array, " seed"]:
    """The mean true return of each seed's policy, over episodes apart from training."""

    def one(state: TrainState) -> Float[Array, ""]:
        key = jax.random.fold_in(state.key, EVALUATION)
        return sampler.evaluate(key, state.agent.actor, episodes).mean()

    return jax.vmap(one)(states)


def training_seeds(
    keys: Key[Array, " seed"],
    sampler: Sampler,
    config: PPOConfig,
    learned: LearnedUpdate | None = None,
) -> Loop[TrainState]:
    """PPO of all seeds until the budget is spent, or their mean has converged, as a `Loop`.

    `return` among a step's metrics is the interquartile mean of the seeds' returns, `return_low`
    and `return_high` its 95 % bootstrap interval, and `returns` has those of each.
    """

    def step(states: TrainState, done: int) -> tuple[TrainState, dict[str, Any]]:
        before = int(states.updates[0])
        updates = min(config.evaluate_every, config.num_updates - before)
        states, metrics = iterate_seeds(states, sampler, config, updates)
        returns = np.asarray(evaluate_seeds(states, sampler, config.evaluation_episodes))
        row = {"steps": (before + updates) * config.batch_size, "returns": returns.tolist()}
        if not np.isfinite(returns).all():  # There is no mean to speak of: training stops here.
            return states, row | {"return": float("nan")}
        middle = interquartile_mean(returns)
        row |= {"return": middle.mean, "return_low": middle.low, "return_high": middle.high}
        return states, row | {name: float(np.mean(values)) for name, values in metrics.items()}

    return Loop(
        start=lambda: init_seeds(keys, sampler, config, learned),
        step=step,
        total=-(-config.num_updates // config.evaluate_every),
        stop=lambda rows: has_converged(rows, config),
        unit="evaluations",
    )


def train_seeds(
    states: TrainState, sampler: Sampler, config: PPOConfig
) -> Iterator[tuple[TrainState, Float[np.ndarray, " seed"], Interval]]:
    """Train all seeds until the budget is spent.

    Yields after every `evaluate_every` updates the states, each seed's return, and the returns'
    interquartile mean with its 95 % bootstrap interval over seeds.
    """
    loop = training_seeds(states.key, sampler, config)
    done = -(-int(np.max(states.updates)) // config.evaluate_every)
    while done < loop.total:
        states, row = loop.step(states, done)
        done += 1
        middle = Interval(row["return"], row["return_low"], row["return_high"])
        yield states, np.asarray(row["returns"], np.float32), middle
