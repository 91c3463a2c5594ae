"""Tasks spread over devices: two, both of this CPU, as `conftest.py` has it."""

import os
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.devices import number, on_all, one_for_each_core, spread
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.tasks import mean_over_tasks
from metarlhf.sampling import CompiledTaskSampler

CONFIG = MetaRLConfig(
    inner_steps=1, meta_batch=4, episodes=2, hidden=(8,), epochs=2, iterations=10, curvature_tasks=2
)


def test_each_device_has_its_share_and_the_first_all_of_what_comes_of_it():
    seen = []

    @jax.jit
    def double(x):
        seen.append(number())
        jax.debug.inspect_array_sharding(spread(2 * x), callback=seen.append)
        return 2 * x

    x = jnp.arange(6.0)
    found = on_all(double, 6)(x)
    np.testing.assert_array_equal(found, 2 * x)
    assert found.devices() == {jax.devices()[0]}
    assert seen[0] == jax.local_device_count() == 2
    assert seen[1].shard_shape((6,)) == (3,)
    # What came of it, wherever it is, goes in again.
    np.testing.assert_array_equal(on_all(double, 6)(on_all(double, 6)(x)), 4 * x)


def test_what_does_not_part_equally_stays_on_one():
    double = lambda x: (2 * x, number())
    assert on_all(double, 5) is double
    found, _ = on_all(jax.jit(lambda x: (spread(jnp.ones(3)) * x, spread(x))), 4)(jnp.ones(3))
    np.testing.assert_array_equal(found, np.ones(3))
    assert number() == 1


@pytest.mark.parametrize(("tasks", "at_once"), [(6, 2), (6, 1), (8, 3), (5, 2)])
def test_means_are_those_of_one_device(tasks, at_once):
    data = jnp.arange(3.0 * tasks).reshape(3, tasks) ** 2
    of = lambda data: (data.mean(), {"each step": data.mean(1)})
    there = on_all(jax.jit(lambda data: mean_over_tasks(of, data, at_once)), 2)(data)
    for found in (there, mean_over_tasks(of, data, at_once)):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), found, of(data))


@pytest.mark.parametrize("outer_step", ["adam", "trpo"])
def test_a_meta_update_on_two_devices_is_that_of_one(outer_step):
    config = replace(CONFIG, outer_step=outer_step)
    family = envs.make("navigation")
    state = outer.init(jax.random.key(0), family, config)
    alone, of_one = jax.jit(lambda s: outer.meta_iterate(s, CompiledTaskSampler(family), config))(
        state
    )
    spread_out, of_two = outer.iterate(state, CompiledTaskSampler(family), config)
    for name in of_one:
        np.testing.assert_allclose(of_two[name][0], of_one[name], rtol=2e-3, atol=1e-5)
    for found, other in zip(
        jax.tree.leaves(spread_out.agent), jax.tree.leaves(alone.agent), strict=True
    ):
        np.testing.assert_allclose(found, other, rtol=1e-3, atol=1e-4)
    moved = [
        float(jnp.abs(x - y).sum())
        for x, y in zip(
            jax.tree.leaves(alone.agent.actor), jax.tree.leaves(state.agent.actor), strict=True
        )
    ]
    assert max(moved) > 1e-3


def test_while_something_around_it_is_traced_it_is_a_function_like_others():
    double = on_all(jax.jit(lambda x: 2 * x), 4)
    x = jnp.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(jax.vmap(double)(x), 2 * x)
    np.testing.assert_array_equal(jax.jit(double)(x[0]), 2 * x[0])


def test_a_mesh_of_somebody_else_is_let_be():
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        np.testing.assert_array_equal(jax.jit(spread)(jnp.ones(4)), np.ones(4))


def test_who_has_said_how_many_devices_a_cpu_is_has_the_word():
    one_for_each_core()
    assert jax.local_device_count() == 2


def test_every_core_that_may_be_used_becomes_a_device():
    said = "import jax; from metarlhf.devices import one_for_each_core as each; each(); "
    said += "print(jax.local_device_count())"
    unset = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    found = subprocess.run(
        [sys.executable, "-c", said], env=unset, capture_output=True, text=True, check=True
    )
    assert int(found.stdout) == len(os.sched_getaffinity(0))
