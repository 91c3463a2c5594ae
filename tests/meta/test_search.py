"""PPO with a learned optimiser, and generations that are judged by it."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo
from metarlhf.contrib import evolution
from metarlhf.contrib.config import EvolutionConfig
from metarlhf.contrib.learned import LearnedDrift, load_learned
from metarlhf.contrib.learned_optimiser import LearnedOptimiser
from metarlhf.contrib.search import Trial, generation, returns, search, trained_return
from metarlhf.ppo.presets import SEARCHED
from metarlhf.sampling import CompiledSampler
from tests.same import assert_same, differ

SMALL = ppo.PPOConfig(
    total_steps=128, num_envs=2, num_steps=32, epochs=2, minibatches=2, hidden=(4,),
    evaluation_episodes=2,
)  # fmt: skip
TRIALS = (Trial(envs.make("navigation"), SMALL), Trial(envs.make("pendulum"), SMALL))
NETWORK = LearnedOptimiser(key=jax.random.key(0))


def test_ppo_goes_where_its_optimiser_says_and_the_optimiser_stays():
    family = envs.make("navigation")
    task = family.sample(jax.random.key(0))
    start = ppo.init(
        jax.random.key(1), CompiledSampler(family, task, SMALL.num_envs), SMALL, learned=NETWORK
    )
    *_, (state, entry) = ppo.train(start, CompiledSampler(family, task, SMALL.num_envs), SMALL)
    assert np.isfinite(entry["return"])
    jax.tree.map(np.testing.assert_array_equal, state.learned, NETWORK)
    moved = state.agent.actor.network.weights[0] - start.agent.actor.network.weights[0]
    steps = SMALL.num_updates * SMALL.epochs * SMALL.minibatches
    assert int(state.optimiser[1].schedule.count) == steps
    assert 0 < float(jnp.abs(moved).max()) < 1e-2 * steps


def test_a_step_that_is_not_taken_leaves_the_learned_optimiser_as_it_was():
    family = envs.make("navigation")
    task = family.sample(jax.random.key(0))
    config = replace(SMALL, kl_stop=1e-5)
    last = lambda network: network.layers[-1].weight
    strong = eqx.tree_at(last, NETWORK, 100.0 * last(NETWORK))
    start = ppo.init(
        jax.random.key(1), CompiledSampler(family, task, config.num_envs), config, learned=strong
    )
    state, metrics = ppo.iterate_many(
        start, CompiledSampler(family, task, config.num_envs), config, 1
    )
    taken = round(float(metrics["share_of_steps"][0]) * config.epochs * config.minibatches)
    assert 0 < taken < config.epochs * config.minibatches
    # But its schedule goes on: it is told how much of the training has passed.
    assert int(state.optimiser[1].schedule.count) == config.epochs * config.minibatches
    every, _ = ppo.iterate_many(
        ppo.init(
            jax.random.key(1), CompiledSampler(family, task, SMALL.num_envs), SMALL, learned=strong
        ),
        CompiledSampler(family, task, SMALL.num_envs),
        SMALL,
        1,
    )
    assert differ(every.optimiser[1].memory, state.optimiser[1].memory)


@pytest.mark.slow
def test_generations_are_judged_by_ppo_and_adam_meets_their_seeds():
    # Candidates so near their mean, and a mean that hardly moves, that they all train alike.
    config = EvolutionConfig(population=4, sigma=1e-9, lr=1e-9)
    start = evolution.init(jax.random.key(0), NETWORK, config)
    state, entry = next(search(start, TRIALS, config))
    assert int(state.generation) == 1
    key = jax.random.split(start.key, 3)[2]
    judge = jax.jit(lambda learned: returns(learned, key, TRIALS))
    np.testing.assert_allclose(entry["plain"], judge(None), rtol=1e-3)
    np.testing.assert_allclose(entry["return"], judge(NETWORK), rtol=1e-3)
    assert not np.allclose(entry["plain"], entry["return"], rtol=1e-3)


def test_the_same_key_is_the_same_training():
    once = jax.jit(lambda key: trained_return(NETWORK, key, TRIALS[0]))
    one, same, other = once(jax.random.key(1)), once(jax.random.key(1)), once(jax.random.key(2))
    assert one == same != other


def test_the_optimiser_that_comes_with_the_library_learns_faster_than_adam_on_what_it_saw():
    """A small part of what optimiser-transfer measures: three tasks of pendulum."""
    config = replace(SEARCHED, total_steps=48_000, evaluation_episodes=8)
    trial = Trial(envs.make("pendulum"), config, tasks=3)
    shipped = load_learned("shipped:optimiser")
    once = jax.jit(
        lambda key: (trained_return(shipped, key, trial), trained_return(None, key, trial))
    )
    learned, adam = once(jax.random.key(4))
    assert learned > adam + 1.0


def test_ppo_learns_with_a_drift_and_refuses_one_beside_another_objective():
    family = envs.make("navigation")
    task = family.sample(jax.random.key(0))
    drift = jax.tree.map(lambda x: 30.0 * x, LearnedDrift(key=jax.random.key(0)))
    states = [
        ppo.init(jax.random.key(1), CompiledSampler(family, task, SMALL.num_envs), SMALL, learned=x)
        for x in (None, drift)
    ]
    first, second = (
        ppo.iterate_many(s, CompiledSampler(family, task, SMALL.num_envs), SMALL, 2)[0]
        for s in states
    )
    # The first minibatch of each update is the same; what comes after it is not.
    assert differ(first.agent.actor, second.agent.actor)
    assert_same(second.learned, drift)
    for learned, objective in ((drift, "kl"), (NETWORK, "trpo")):
        other = replace(SMALL, objective=objective)
        with pytest.raises(ValueError, match="objective"):
            ppo.init(
                jax.random.key(1),
                CompiledSampler(family, task, other.num_envs),
                other,
                learned=learned,
            )


def test_a_candidate_that_comes_to_no_number_is_told_of_and_leaves_the_mean_alone(monkeypatch):
    """Of two, one: a search goes on without it."""

    def half(learned, key, trials):
        last = learned.layers[-1].bias[0] if learned is not None else jnp.ones(())
        worth = jnp.where(last > NETWORK.layers[-1].bias[0], 3.0, jnp.nan)
        return jnp.stack([worth, jnp.asarray(2.0)])

    monkeypatch.setattr("metarlhf.contrib.search.returns", half)
    config = EvolutionConfig(population=2)
    state, found = generation(evolution.init(jax.random.key(0), NETWORK, config), TRIALS, config)
    np.testing.assert_allclose(found["return"], [3.0, 2.0])
    np.testing.assert_allclose(found["diverged"], [0.5, 0.0])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
