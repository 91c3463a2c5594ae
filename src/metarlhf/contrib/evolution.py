"""Evolution strategies (Salimans et al. 2017): learning from what came of it, without gradients.

For what is judged at the end of a long training, through which no gradient can be taken. Pairs of
candidates stand on opposite sides of the mean, and all of a generation meet the same seeds, so that
what differs between them is what they are.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Integer, PRNGKeyArray, PyTree

from metarlhf import optimise
from metarlhf.contrib.config import EvolutionConfig

# What a candidate is worth, by one or several measures; more is better. The key is a generation's.
Fitness = Callable[[Any, PRNGKeyArray], Float[Array, " measure"]]


class EvolutionState(eqx.Module):
    """All there is to know to go on."""

    params: PyTree
    optimiser: optax.OptState
    key: PRNGKeyArray
    generation: Integer[Array, ""]


def init(key: PRNGKeyArray, params: PyTree, config: EvolutionConfig) -> EvolutionState:
    """Start from `params`, a pytree of floats."""
    mean, _ = ravel_pytree(params)
    return EvolutionState(
        params, optimise.begin(_adam(config), mean), key, jnp.zeros((), jnp.int32)
    )


def _adam(config: EvolutionConfig) -> optax.GradientTransformation:
    return optax.adam(optax.exponential_decay(config.lr, 1, config.decay))


def shaped(
    fitness: Float[Array, "candidate measure"], config: EvolutionConfig
) -> Float[Array, " candidate"]:
    """One number for each candidate: the mean over measures, each made comparable first.

    Ranks run from -0.5 to 0.5, equals sharing theirs. Neither them nor z-scores know of a measure's
    zero and unit: fitness relative to that of some fixed other, on the same seeds, is the same.
    A candidate that came to no number counts as the worst.
    """
    worst = jnp.min(jnp.where(jnp.isfinite(fitness), fitness, jnp.inf), axis=0)
    fitness = jnp.where(jnp.isfinite(fitness), fitness, jnp.where(jnp.isfinite(worst), worst, 0.0))
    if config.shaping == "rank":
        below = (fitness[:, None] > fitness[None]).sum(axis=1)
        equal = (fitness[:, None] == fitness[None]).sum(axis=1) - 1
        each = (below + 0.5 * equal) / (len(fitness) - 1) - 0.5
    else:
        each = (fitness - fitness.mean(axis=0)) / (fitness.std(axis=0) + 1e-8)
    return each.mean(axis=1)


def ascent(
    noise: Float[Array, "pair weight"], worth: Float[Array, " candidate"], sigma: Float[Array, ""]
) -> Float[Array, " weight"]:
    """The gradient of expected worth by the mean: antithetic, Salimans et al. 2017, algorithm 1.

    Candidates are all those at +noise, then all those at -noise.
    """
    plus, minus = jnp.split(worth, 2)
    return (0.5 * (plus - minus)) @ noise / (len(noise) * sigma)


def judge_key(state: EvolutionState) -> PRNGKeyArray:
    """What the next generation's candidates are all judged with."""
    return jax.random.split(state.key, 3)[2]


def generation(
    state: EvolutionState, fitness: Fitness, config: EvolutionConfig
) -> tuple[EvolutionState, Float[Array, "candidate measure"]]:
    """One generation: candidates about the mean, judged side by side, and the mean moved. Pure.

    Returns the candidates' fitness too, as measured, with `judge_key(state)`.
    """
    key, noise_key, _ = jax.random.split(state.key, 3)
    mean, unravel = ravel_pytree(state.params)
    sigma = config.sigma * config.decay**state.generation
    noise = jax.random.normal(noise_key, (config.population // 2, mean.size))
    candidates = mean + sigma * jnp.concatenate([noise, -noise])
    found = jax.vmap(lambda candidate: fitness(unravel(candidate), judge_key(state)))(candidates)
    gradient = ascent(noise, shaped(found, config), sigma)
    mean, optimiser = optimise.step(_adam(config), -gradient, state.optimiser, mean)
    return EvolutionState(unravel(mean), optimiser, key, state.generation + 1), found
