"""PPO beside its peers: counted operations, the talk with drivers, and the arithmetic of ratios."""

import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.ppo import flops, peers
from benchmarks.ppo.drivers.ours import setting_out
from benchmarks.ppo.protocol import Measurement, Settings
from metarlhf import ppo
from metarlhf.ppo.update import loss, make_batch
from metarlhf.sampling import CompiledSampler

NETWORKS = ((4, 64, 64, 2), (4, 64, 64, 1))
TINY = Settings(updates=2, num_envs=4, num_steps=4, epochs=3, minibatches=2, hidden=(5,))


def measured(settings, **differences):
    work = {
        "steps": settings.steps,
        "gradient_steps": settings.updates * settings.epochs * settings.minibatches,
        "parameters": peers.parameters(settings),
    }
    return Measurement(seconds=1.0, compile_seconds=None, versions={}, **(work | differences))


def test_operations_of_a_gradient_step_by_hand():
    forward = 2 * 7 * (3 * 5 + 5 * 2)
    gradient_of_hidden = 2 * 7 * 2 * 5
    assert flops.gradient_step_flops([(3, 5, 2)], 7) == 2 * forward + gradient_of_hidden


def test_operations_of_an_iteration_by_hand():
    _, _, config = setting_out(Settings())
    forward = 2 * (2 * (4 * 64 + 64 * 64) + 64 * 2 + 64 * 1)
    gradient_step = 3 * forward - 2 * (2 * 4 * 64)
    assert flops.iteration_flops(NETWORKS, config) == 64 * 128 * (forward + 4 * gradient_step)


def test_the_chain_of_products_does_what_is_counted():
    _, arguments = flops.chain(NETWORKS, 2048, 1)
    said = jax.jit(flops.linear_step).lower(*arguments).cost_analysis()["flops"]
    assert said == pytest.approx(flops.gradient_step_flops(NETWORKS, 2048), rel=1e-3)


def test_the_chain_makes_as_many_steps_as_it_says():
    program, (weights, inputs) = flops.chain(((3, 4, 2),), 800, 5)
    expected = weights
    for _ in range(5):
        expected = flops.linear_step(expected, inputs)
    found = program(weights, inputs)
    for new, right, old in zip(found[0], expected[0], weights[0], strict=True):
        np.testing.assert_allclose(new, right, atol=1e-6)
        # Far enough from the start that a step more or less would be seen.
        assert np.abs(new - old).max() > 5e-5


def test_counted_operations_are_those_of_ppo():
    """The compiler counts the loss's own arithmetic too, which is a few operations a number."""
    family, task, config = setting_out(Settings(num_envs=16))

    def minibatch(key):
        state = ppo.init(key, CompiledSampler(family, task, config.num_envs), config)
        state, trajectory = ppo.play(state, CompiledSampler(family, task, config.num_envs), config)
        return state.agent, make_batch(state.agent, trajectory, config)[0]

    agent, batch = jax.eval_shape(minibatch, jax.random.key(0))
    gradient = jax.jit(jax.grad(lambda agent, batch: loss(agent, batch, config, jnp.ones(()))[0]))
    said = gradient.lower(agent, batch).cost_analysis()["flops"]
    networks = flops.layer_sizes(agent)
    counted = flops.gradient_step_flops(networks, config.batch_size)
    assert networks == NETWORKS
    assert counted <= said <= 1.05 * counted


@pytest.mark.parametrize("task", peers.TASKS)
def test_trained_numbers_are_counted_right(task):
    settings = Settings(environment=task)
    family, task, config = setting_out(settings)
    agent = jax.eval_shape(
        lambda key: ppo.init(key, CompiledSampler(family, task, config.num_envs), config).agent,
        jax.random.key(0),
    )
    assert peers.parameters(settings) == sum(leaf.size for leaf in jax.tree.leaves(agent))


def test_a_driver_trains_as_it_is_told():
    found = peers.run(peers.OURS, TINY)
    assert (found.steps, found.gradient_steps) == (2 * 16, 2 * 3 * 2)
    assert found.seconds > 0
    assert found.compile_seconds > found.seconds
    assert "jax" in found.versions


def test_a_driver_that_fails_is_quoted():
    nobody = peers.Peer("Nobody", "nobody", 1)
    with pytest.raises(RuntimeError, match=r"(?s)Nobody failed on .*No module named .*nobody"):
        peers.run(nobody, TINY)


@pytest.mark.parametrize("what", ["steps", "gradient_steps", "parameters"])
def test_a_peer_that_did_other_work_is_refused(what):
    peers.check(peers.SB3, TINY, measured(TINY))
    with pytest.raises(RuntimeError, match="Stable-Baselines3 did other work"):
        peers.check(peers.SB3, TINY, measured(TINY, **{what: 1}))


def test_a_ratio_of_medians_with_its_extremes():
    assert peers.ratio([2.0, 4.0, 6.0], [1.0, 2.0, 2.0]) == (2.0, 2.0, 3.0)
    # Medians 3 and 1, pairs 1 and 2 and 6: never outside of its own interval.
    assert peers.ratio([1.0, 3.0, 6.0], [1.0, 1.5, 1.0]) == (3.0, 1.0, 6.0)


def test_nothing_of_ours_and_nothing_compiled_reaches_a_peer(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "cache")
    monkeypatch.setenv("PYTHONPATH", "src")
    assert not {"JAX_COMPILATION_CACHE_DIR", "PYTHONPATH"} & set(peers.surroundings(peers.REJAX))
    assert peers.surroundings(peers.OURS)["PYTHONPATH"] == "src"
    assert "JAX_COMPILATION_CACHE_DIR" not in peers.surroundings(peers.OURS)


def test_a_peer_is_installed_once_and_anew_for_other_releases(monkeypatch, tmp_path):
    commands = []

    def run(command, check):
        commands.append([str(word) for word in command])
        (tmp_path / "it").mkdir(exist_ok=True)

    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    for requirement in ("it==1", "it==1", "it==2"):
        peers.interpreter(peers.Peer("It", "it", 1, "it", (requirement,)))
    assert [command[-1] for command in commands if "pip" in command] == ["it==1", "it==2"]


def test_half_an_installation_is_none(monkeypatch, tmp_path):
    def run(command, check):
        (tmp_path / "it").mkdir(exist_ok=True)
        if "pip" in command:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            peers.interpreter(peers.Peer("It", "it", 1, "it", ("it==1",)))
