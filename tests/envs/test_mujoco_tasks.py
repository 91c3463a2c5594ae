"""MuJoCo's task families against their definitions, computed by hand."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from metarlhf.envs.adapters.mujoco_families import BODIES, RUNNERS, family

KEY = jax.random.key(0)


def simulator(name):
    return family(name)._make()


def stepped(name, task, action=None, steps=3):
    """A simulator after some steps in `task`: it, the last action, and what the last step gave."""
    env = simulator(name)
    sim = env.unwrapped
    sim.set_task(task)
    env.reset(seed=3)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        before = sim.data.qpos[0], *sim.data.body("torso").xpos[:2]
        action = rng.uniform(-1, 1, sim.model.nu)
        given = env.step(action)
    return sim, before, action, given


def speed_of_mass(sim):
    """Velocity of the centre of mass: that of every body's, weighed by its mass."""
    total, spatial = np.zeros(3), np.zeros(6)
    mujoco.mj_forward(sim.model, sim.data)
    for body in range(1, sim.model.nbody):
        kind = mujoco.mjtObj.mjOBJ_BODY
        mujoco.mj_objectVelocity(sim.model, sim.data, kind, body, spatial, 0)
        total += sim.model.body_mass[body] * spatial[3:]
    return total / sim.model.body_mass.sum()


def contacts(sim):
    return np.sum(np.clip(sim.data.cfrc_ext, -1, 1) ** 2)


@pytest.mark.parametrize("lineage", ["promp2018", "pearl2019"])
def test_the_cheetah_is_paid_for_how_far_it_came(lineage):
    sim, before, action, (obs, paid, ended, _, _) = stepped(f"{lineage}/HalfCheetahVel", 1.7)
    speed = (sim.data.qpos[0] - before[0]) / 0.05
    assert paid == pytest.approx(-abs(speed - 1.7) - 0.05 * action @ action)
    np.testing.assert_array_equal(obs, [*sim.data.qpos[1:], *sim.data.qvel])
    assert not ended
    sim, before, action, (_, paid, _, _, _) = stepped(f"{lineage}/HalfCheetahDir", [-1.0, 0.0])
    speed = (sim.data.qpos[0] - before[0]) / 0.05
    assert paid == pytest.approx(-speed - 0.05 * action @ action)


def test_finns_cheetah_is_paid_for_its_centre_of_mass():
    sim, _, action, (obs, paid, _, _, _) = stepped("finn2017/HalfCheetahVel", 1.2)
    cost = 0.05 * action @ action
    assert paid == pytest.approx(-abs(speed_of_mass(sim)[0] - 1.2) - cost, abs=1e-6)
    np.testing.assert_array_equal(obs[:17], [*sim.data.qpos[1:], *sim.data.qvel])
    mass = sim.model.body_mass
    np.testing.assert_allclose(obs[17:], mass @ sim.data.xipos / mass.sum(), atol=1e-9)
    sim, _, action, (_, paid, _, _, _) = stepped("finn2017/HalfCheetahDir", [-1.0, 0.0])
    assert paid == pytest.approx(-speed_of_mass(sim)[0] - 0.05 * action @ action, abs=1e-6)


def test_finns_ant():
    sim, _, action, (obs, paid, _, _, _) = stepped("finn2017/AntVel", 2.0)
    costs = 0.005 * action @ action + 0.0005 * contacts(sim)
    assert paid == pytest.approx(-abs(speed_of_mass(sim)[0] - 2.0) + 1 - costs + 0.05, abs=1e-6)
    assert obs.shape == (15 + 14 + 14 * 6 + 9 + 3,)
    sim, _, action, (_, paid, _, _, _) = stepped("finn2017/AntDir", [-1.0, 0.0])
    costs = 0.005 * action @ action + 0.0005 * contacts(sim)
    assert paid == pytest.approx(-speed_of_mass(sim)[0] - costs + 0.05, abs=1e-6)
    sim, _, action, (_, paid, _, _, _) = stepped("finn2017/AntGoal", [1.0, -2.0])
    costs = 0.005 * action @ action + 0.0005 * contacts(sim)
    mass = sim.model.body_mass
    away = np.abs((mass @ sim.data.xipos / mass.sum())[:2] - [1, -2]).sum()
    assert paid == pytest.approx(4 - away - costs + 0.05)


def test_the_others_ant():
    for name, size in (("promp2018/AntDir", 13 + 14 + 84), ("pearl2019/AntDir", 27)):
        sim, before, action, (obs, paid, _, _, _) = stepped(name, [0.6, 0.8])
        speed = (sim.data.body("torso").xpos[:2] - before[1:]) / 0.05
        costs = 0.5 * action @ action + 0.0005 * contacts(sim)
        assert paid == pytest.approx(speed @ [0.6, 0.8] - costs + 1)
        assert obs.shape == (size,)
    for lineage in ("promp2018", "pearl2019"):
        sim, _, action, (obs, paid, _, _, _) = stepped(f"{lineage}/AntGoal", [1.0, -2.0])
        costs = 0.1 * action @ action + 0.0005 * contacts(sim)
        assert paid == pytest.approx(
            -np.abs(sim.data.body("torso").xpos[:2] - [1, -2]).sum() - costs
        )
        assert obs.shape == (15 + 14 + 84,)


@pytest.mark.parametrize(
    ("name", "heights"),
    [
        ("finn2017/AntVel", {0.15: True, 0.25: False, 0.95: False, 1.2: True}),
        ("promp2018/AntDir", {0.15: False, 0.95: False, 1.2: True}),
        ("pearl2019/AntDir", {0.15: True, 0.95: False, 1.2: True}),
        ("promp2018/AntGoal", {0.15: False, 1.2: False}),
        ("promp2018/HalfCheetahVel", {0.15: False, 1.2: False}),
    ],
)
def test_episodes_end_where_the_lineage_ends_them(name, heights):
    sim = simulator(name).unwrapped
    for height, ends in heights.items():
        sim.data.qpos[2] = height
        assert sim._ended() is ends


@pytest.mark.parametrize(
    ("name", "sound", "fallen"),
    [
        ("promp2018/Walker2DRandParams", (0.9, 0.9), [(0.7, 0.0), (2.1, 0.0), (1.2, 1.1)]),
        ("pearl2019/HopperRandParams", (0.75, 0.15), [(0.65, 0.0), (1.2, 0.3)]),
    ],
)
def test_bodies_that_vary(name, sound, fallen):
    """Multipliers within their ranges, on the model itself; the pay is of how far it came."""
    made = family(name)
    tasks = jax.vmap(made.sample)(jax.random.split(KEY, 200))
    for part, base in (("mass", 1.5), ("inertia", 1.5), ("friction", 1.5), ("damping", 1.3)):
        exponent = np.log(tasks[part]) / np.log(base)
        assert -3 <= exponent.min() < -2.9 < 2.9 < exponent.max() <= 3.0001
        assert abs(exponent.mean()) < 0.2
    env = simulator(name)
    sim, usual = env.unwrapped, simulator(name).unwrapped.model
    task = jax.tree.map(lambda x: np.asarray(x[0]), tasks)
    sim.set_task(task)
    sim.set_task(task)  # of the usual body, not of the last one
    np.testing.assert_allclose(sim.model.body_mass, usual.body_mass * task["mass"], rtol=1e-6)
    friction = usual.geom_friction * task["friction"]
    np.testing.assert_allclose(sim.model.geom_friction, friction, rtol=1e-6)
    env.reset(seed=0)
    before, action = sim.data.qpos[0], np.full(sim.model.nu, 0.3)
    obs, paid, *_ = env.step(action)
    dt = 0.002 * (5 if "Walker" in name else 4)
    assert paid == pytest.approx((sim.data.qpos[0] - before) / dt + 1 - 1e-3 * action @ action)
    np.testing.assert_array_equal(obs, [*sim.data.qpos[1:], *np.clip(sim.data.qvel, -10, 10)])
    for (height, angle), fell in [(sound, False), *((state, True) for state in fallen)]:
        sim.data.qpos[1:3], sim.data.qvel[:] = (height, angle), 0.0
        assert sim._fell() is fell


@pytest.mark.parametrize("name", [*RUNNERS, *BODIES])
def test_a_simulator_is_truncated_at_the_horizon_and_has_the_tasks_shape(name):
    made = family(name)
    assert made.horizon == (100 if name == "promp2018/HalfCheetahDir" else 200)
    env = made._make()
    env.unwrapped.set_task(jax.tree.map(np.asarray, made.sample(KEY)))
    env.reset(seed=0)
    ends = [env.step(np.zeros(env.action_space.shape))[2:4] for _ in range(5)]
    assert not any(truncated for _, truncated in ends)
    env._elapsed_steps = made.horizon - 1
    assert env.step(np.zeros(env.action_space.shape))[3]


def test_tasks_are_spread_as_the_lineages_say():
    def drawn(name):
        return np.asarray(jax.vmap(family(name).sample)(jax.random.split(KEY, 4000)))

    for name, fastest in (("finn2017/HalfCheetahVel", 2), ("promp2018/HalfCheetahVel", 3)):
        speeds = drawn(name)
        assert 0 <= speeds.min() < 0.01 * fastest < 0.99 * fastest < speeds.max() <= fastest
        assert abs(speeds.mean() - fastest / 2) < 0.05
    ways, counts = np.unique(drawn("finn2017/AntDir"), axis=0, return_counts=True)
    np.testing.assert_array_equal(ways, [[-1, 0], [1, 0]])
    assert counts.min() > 1800
    np.testing.assert_allclose(np.linalg.norm(drawn("pearl2019/AntDir"), axis=1), 1, rtol=1e-5)
    away = np.linalg.norm(drawn("promp2018/AntGoal"), axis=1)
    assert 2.98 < away.max() <= 3
    assert abs(np.mean(away < 3 / np.sqrt(2)) - 0.5) < 0.03  # half of the disc's area
    square = drawn("finn2017/AntGoal")
    assert 2.98 < np.abs(square).max() <= 3
    assert np.mean(np.linalg.norm(square, axis=1) > 3) > 0.15  # its corners too


def test_promps_actions_reach_ten_times_as_far():
    finn, promp = family("finn2017/AntDir").action_space, family("promp2018/AntDir").action_space
    unit = jnp.linspace(-12, 12, 8)
    np.testing.assert_allclose(promp.from_unit(unit), np.clip(unit / 10, -1, 1), atol=1e-6)
    np.testing.assert_allclose(finn.from_unit(unit), np.clip(unit, -1, 1), atol=1e-6)


def test_simulators_in_processes_are_each_told_their_own_task():
    """Half of them live in another process; all act alike, and are paid by their own speeds."""
    made = family("promp2018/HalfCheetahVel")
    env = made.connect(4)
    try:
        env.set_tasks(np.array([0.0, 1.0, 2.0, 3.0], np.float32))
        env.reset(seed=0)
        paid = env.step(np.zeros((4, 6), np.float32)).reward
        env.set_tasks(np.full(4, 50.0, np.float32))
        env.reset(seed=0)
        speeds = 50 + env.step(np.zeros((4, 6), np.float32)).reward
    finally:
        env.close()
    np.testing.assert_allclose(paid, -np.abs(speeds - [0, 1, 2, 3]), atol=1e-4)
    assert len(np.unique(speeds)) == 4  # no two begin alike
