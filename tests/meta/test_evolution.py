"""Evolution's direction is the gradient's, ranks are fair, and an optimiser learns by it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarlhf.contrib import evolution
from metarlhf.contrib.config import EvolutionConfig
from metarlhf.contrib.evolution import ascent, shaped
from metarlhf.contrib.learned_optimiser import LearnedOptimiser, Schedule, learned_transformation

CURVATURE = jnp.array([1.0, 3.0, 0.5, 2.0])
OPTIMUM = jnp.array([0.3, -0.2, 1.0, 0.0])


def quadratic(x):
    return -0.5 * jnp.sum(CURVATURE * (x - OPTIMUM) ** 2)


def test_the_direction_on_a_quadratic_is_its_gradient():
    """On a quadratic the difference of a pair is exact: what is left is the noise's covariance."""
    noise = jax.random.normal(jax.random.key(0), (20_000, 4))
    at, sigma = jnp.array([1.0, 1.0, -1.0, 0.5]), jnp.array(0.1)
    worth = jax.vmap(quadratic)(at + sigma * jnp.concatenate([noise, -noise]))
    expected = -CURVATURE * (at - OPTIMUM)
    np.testing.assert_allclose(ascent(noise, worth, sigma), expected, atol=0.1)


def test_ranks_are_shared_by_equals_and_what_is_no_number_comes_last():
    fitness = jnp.array([[3.0], [jnp.nan], [10.0], [3.0], [-5.0], [7.0]])
    found = shaped(fitness, EvolutionConfig(population=6))
    # 10 > 7 > 3 = 3 > -5 = no number
    np.testing.assert_allclose(found, [0.0, -0.4, 0.5, 0.0, -0.4, 0.3], atol=1e-6)


@pytest.mark.parametrize("shaping", ["rank", "z-score"])
def test_each_measure_counts_the_same_whatever_its_unit_and_zero(shaping):
    config = EvolutionConfig(population=8, shaping=shaping)
    fitness = jax.random.normal(jax.random.key(0), (8, 2))
    other = fitness * jnp.array([1000.0, 0.1]) - jnp.array([5.0, 70.0])
    np.testing.assert_allclose(shaped(fitness, config), shaped(other, config), atol=1e-3)


def test_a_generation_shares_one_seed_and_its_pairs_are_opposite():
    config = EvolutionConfig(population=6, sigma=0.5)
    state = evolution.init(jax.random.key(0), jnp.array([1.0, 2.0]), config)
    fitness = lambda params, key: jnp.append(params, jax.random.uniform(key))
    _, found = jax.jit(lambda state: evolution.generation(state, fitness, config))(state)
    candidates, seeds = found[:, :2], found[:, 2]
    assert len(set(seeds.tolist())) == 1
    np.testing.assert_allclose(candidates[:3] + candidates[3:], [[2.0, 4.0]] * 3, rtol=1e-6)
    assert np.std(candidates[:3]) > 0.05


def test_it_finds_the_top_of_a_quadratic():
    config = EvolutionConfig(population=16, sigma=0.1, lr=0.1, decay=0.98)
    state = evolution.init(jax.random.key(0), {"x": jnp.zeros(4)}, config)
    fitness = lambda params, key: quadratic(params["x"])[None]
    step = lambda state, _: evolution.generation(state, fitness, config)
    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, length=150))(state)
    np.testing.assert_allclose(state.params["x"], OPTIMUM, atol=0.05)
    assert int(state.generation) == 150


def test_an_odd_population_is_refused():
    with pytest.raises(ValueError, match="population must be even"):
        EvolutionConfig(population=7)


def test_an_optimiser_that_was_evolved_descends_where_its_start_did_not():
    """Judged on starts and optima that it has not met."""
    config = EvolutionConfig(population=32)
    schedule = Schedule(updates=30)

    def descent(network, key):
        """By how much 30 steps lessen the distance from a random optimum, 0.03 away or so."""
        optimum, start = 0.03 * jax.random.normal(key, (2, 5))
        loss = lambda x: 0.5 * jnp.sum((x - optimum) ** 2)
        rule = learned_transformation(network, schedule, key)

        def step(carry, _):
            x, state = carry
            updates, state = rule.update(jax.grad(loss)(x), state, x)
            return (optax.apply_updates(x, updates), state), None

        (x, _), _ = jax.lax.scan(step, (start, rule.init(start)), length=30)
        # The mean over parameters is taken from each move: what can be reached is all but that.
        free = lambda x: jnp.sum(((x - optimum) - (x - optimum).mean()) ** 2)
        return 1.0 - free(x) / free(start)

    several = lambda network, key: jax.vmap(lambda k: descent(network, k))(
        jax.random.split(key, 8)
    ).mean()[None]
    first = LearnedOptimiser(key=jax.random.key(0))
    state = evolution.init(jax.random.key(1), first, config)
    step = lambda state, _: evolution.generation(state, several, config)
    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, length=60))(state)
    keys = jax.random.split(jax.random.key(99), 64)
    judge = jax.jit(lambda network: jax.vmap(lambda k: descent(network, k))(keys))
    before, after = judge(first), judge(state.params)
    assert after.mean() > 0.5
    assert after.mean() > before.mean() + 0.3
