"""A learned optimiser that studied Adam does as Adam does, and is what Adam's record says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metarlhf import envs, optimise, ppo
from metarlhf.contrib.config import ImitationConfig
from metarlhf.contrib.learned_optimiser import (
    STEP,
    LearnedOptimiser,
    Schedule,
    flatten,
    learned_transformation,
)
from metarlhf.contrib.search import (
    Trial,
    _watching,
    chosen_of,
    imitate,
    record,
    recordings,
    said,
    unlike,
)
from metarlhf.sampling import CompiledSampler
from tests.meta.test_search import SMALL

FAMILY = envs.make("navigation")
TRIAL = Trial(FAMILY, replace(SMALL, total_steps=512, lr=0.01))
NETWORK = LearnedOptimiser(key=jax.random.key(0))
STEPS = TRIAL.config.num_updates * TRIAL.config.epochs * TRIAL.config.minibatches


def test_what_is_recorded_is_what_adam_did():
    """By what Adam is known for: its first step, and that it is annealed."""
    keys = jax.random.split(jax.random.key(1), 2)
    tasks = jax.vmap(FAMILY.sample)(keys)
    agent = ppo.init(
        keys[0], CompiledSampler(FAMILY, tasks[0], TRIAL.config.num_envs), TRIAL.config
    ).agent
    everything = jnp.arange(len(flatten(agent)))
    found = record(keys, tasks, TRIAL, everything, STEPS)
    assert found.move.shape == (2, len(everything), STEPS)
    # Adam's first step is its step size, whatever the gradient; in units of a thousandth.
    first = np.abs(found.move[..., 0])
    assert np.isclose(first, 10.0, rtol=0.05).mean() > 0.7  # the others' gradients are tiny
    assert first.max() < 10.01
    # The parameter is the first feature, before it is scaled: signs are those of the weights.
    assert (np.sign(found.features[0, :, 0, 0]) == np.sign(flatten(agent))).all()
    # Annealed: the last moves are small.
    assert np.abs(found.move[..., -1]).max() < 1.5


def test_parameters_are_drawn_from_all_tensors_alike():
    params = {"layers": [jnp.zeros((50, 20)), jnp.zeros(4)]}
    chosen = chosen_of(jax.random.key(0), params, 400)
    assert 120 < int((chosen >= 1000).sum()) < 280


def test_studying_makes_it_alike_and_the_rule_moves_so():
    config = ImitationConfig(tasks=2, parameters=32, steps=150, batch=32, lr=0.01)
    recorded = recordings(jax.random.key(2), (TRIAL,), config)
    network, course = imitate(jax.random.key(3), NETWORK, recorded, config)
    before, after = (float(unlike(n, recorded[0])) for n in (NETWORK, network))
    assert before > 0.9
    assert after < 0.35
    assert course[-1] < course[0]
    out = said(network, recorded[0].features[0])
    assert out.shape == (STEPS, 3)
    # As a rule it goes downhill, at about Adam's speed.
    loss = lambda x: jnp.sum(x**2)
    schedule = Schedule(TRIAL.config.num_updates, TRIAL.config.epochs, TRIAL.config.minibatches)
    rule = learned_transformation(network, schedule, jax.random.key(4))
    params = jnp.array([1.0, -0.5, 0.7, -1.2])
    state = optimise.begin(rule, params)
    for _ in range(4):
        old = params
        params, state = optimise.step(rule, jax.grad(loss)(params), state, params)
        assert loss(params) < loss(old)


def test_watching_changes_nothing_and_writes_down_each_move():
    adam = optax.adam(1e-2)
    params = {"layers": [jnp.array([1.0, 2.0])]}
    watched = _watching(adam, Schedule(3), jnp.array([1]), 3)
    own, seen = adam.init(params), watched.init(params)
    for step, gradient in enumerate(([0.3, -4.0], [0.1, 2.0], [-0.5, 1.0])):
        gradient = {"layers": [jnp.array(gradient)]}
        moves, own = adam.update(gradient, own, params)
        same, seen = watched.update(gradient, seen, params)
        jax.tree.map(np.testing.assert_array_equal, moves, same)
        recorded = seen.recorded.move[0, step] * STEP
        np.testing.assert_allclose(recorded, moves["layers"][0][1], rtol=1e-6)
    assert int(seen.count) == 3
