"""Each family's dynamics and rewards against NumPy's, Gymnasium's and physics' own."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.envs.cartpole import CartPoleState
from metarlhf.envs.navigation import NavigationState
from metarlhf.envs.pendulum import PendulumState
from metarlhf.envs.reacher import ReacherState

KEY = jax.random.key(0)
START = jnp.zeros((), jnp.int32)


def at(x, y):
    return NavigationState(jnp.array([x, y]), START)


def test_navigation_moves_by_the_clipped_action_and_pays_the_negative_distance():
    family = envs.make("navigation/finn2017")
    after = family.step(KEY, at(0.2, -0.1), jnp.array([0.5, -0.03]), jnp.array([0.3, 0.4]))
    np.testing.assert_allclose(after.obs, [0.3, -0.13], atol=1e-6)
    np.testing.assert_allclose(after.reward, -0.53, atol=1e-6)
    assert not after.terminated
    assert family.horizon == 100


@pytest.mark.parametrize(
    ("offset", "ends"),
    [
        ((0.009, -0.009), True),
        ((0.011, 0.0), False),
        ((0.0, -0.011), False),
        ((0.0, 0.0), True),
    ],
)
def test_navigation_ends_within_a_hundredth_of_the_goal_on_both_axes(offset, ends):
    family, goal = envs.make("navigation/finn2017"), jnp.array([0.3, -0.2])
    state = NavigationState(goal + jnp.array(offset), START)
    after = family.step(KEY, state, jnp.zeros(2), goal)
    assert bool(after.terminated) is ends
    assert not family.without_termination().step(KEY, state, jnp.zeros(2), goal).terminated


def test_goals_fill_their_square_or_half_circle():
    keys = jax.random.split(KEY, 2000)
    square = np.asarray(jax.vmap(envs.make("navigation/finn2017").sample)(keys))
    assert (np.abs(square) <= 0.5).all()
    np.testing.assert_allclose(square.mean(0), 0.0, atol=0.03)
    np.testing.assert_allclose(square.std(0), 1 / np.sqrt(12), atol=0.015)
    circle = np.asarray(jax.vmap(envs.make("navigation/pearl2019").sample)(keys))
    np.testing.assert_allclose(np.linalg.norm(circle, axis=1), 1.0, atol=1e-5)
    assert (circle[:, 1] >= 0).all()
    np.testing.assert_allclose(np.arctan2(*circle.T[::-1]).mean(), np.pi / 2, atol=0.08)


@pytest.mark.parametrize(("distance", "reward"), [(0.0, 1.0), (0.15, 0.85), (0.21, 0.0), (2.0, 0)])
def test_sparse_navigation_pays_only_near_the_goal(distance, reward):
    family = envs.make("navigation/pearl2019")
    after = family.step(KEY, at(0.0, 1.0 - distance), jnp.zeros(2), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(after.reward, reward, atol=1e-5)
    assert not after.terminated
    assert family.horizon == 20


def test_pendulum_moves_as_gymnasiums():
    """Under the same torques, from the same state, for a hundred steps."""
    reference = gymnasium.make("Pendulum-v1").unwrapped
    reference.reset(seed=0)
    family, task = envs.make("pendulum", max_torque=2.0), jnp.zeros(())
    state = PendulumState(jnp.array(2.5), jnp.array(-0.5), START)
    reference.state = np.array([2.5, -0.5])
    step = jax.jit(family.step)
    for torque in np.random.default_rng(0).uniform(-3, 3, 100):
        expected = reference.step(np.array([torque]))[0]
        after = step(KEY, state, jnp.array([torque], jnp.float32), task)
        state = after.state
        scaled = np.array([1, 1, family.speed_scale]) * after.obs
        np.testing.assert_allclose(scaled, expected, atol=2e-3)
    reference.close()


@pytest.mark.parametrize("wanted", [-3.0, 0.0, 2.9])
def test_pendulum_pays_for_angle_speed_and_torque(wanted):
    family = envs.make("pendulum")
    state = PendulumState(jnp.array(3.0), jnp.array(0.4), START)
    after = family.step(KEY, state, jnp.array([9.0]), jnp.array(wanted))
    speed = 0.4 + (15 * np.sin(3.0) + 3 * 6.0) * 0.05
    error = (3.0 + speed * 0.05) - wanted
    error = np.arctan2(np.sin(error), np.cos(error))
    expected = -abs(error) - 0.01 * speed**2 - 0.001 * 36
    np.testing.assert_allclose(after.reward, expected, rtol=1e-5)


def test_pendulum_can_hold_every_angle():
    """At rest at the horizontal, where gravity pulls most, some torque keeps it."""
    family = envs.make("pendulum")
    state = PendulumState(jnp.array(np.pi / 2, jnp.float32), jnp.array(0.0), START)
    after = family.step(KEY, state, jnp.array([-5.0]), jnp.zeros(()))
    np.testing.assert_allclose(after.state.speed, 0.0, atol=1e-6)
    assert family.max_torque > 5.0


def kinetic_energy(family, angle, velocity):
    """Two uniform rods, from the motion of their centres and their turning."""
    m, length = family.link_mass, family.link_length

    def centres(q):
        direction = lambda a: jnp.stack([jnp.cos(a), jnp.sin(a)])
        elbow = length * direction(q[0])
        return jnp.stack([0.5 * elbow, elbow + 0.5 * length * direction(q[0] + q[1])])

    _, speeds = jax.jvp(centres, (angle,), (velocity,))
    turning = jnp.stack([velocity[0], velocity[0] + velocity[1]])
    return 0.5 * m * jnp.sum(speeds**2) + 0.5 * m * length**2 / 12 * jnp.sum(turning**2)


def test_reacher_conserves_energy_without_damping_and_loses_it_with():
    def energies(family):
        state = ReacherState(jnp.array([0.3, 1.0]), jnp.array([1.5, -2.0]), START)

        def step(state, _):
            after = family.step(KEY, state, jnp.zeros(2), jnp.zeros(2))
            return after.state, kinetic_energy(family, after.state.angle, after.state.velocity)

        return jax.lax.scan(step, state, length=100)[1]

    kept = energies(envs.make("reacher", damping=(0.0, 0.0)))
    np.testing.assert_allclose(kept, kept[0], rtol=2e-3)
    lost = np.asarray(energies(envs.make("reacher")))
    assert (np.diff(lost) < 0).all()


def test_reacher_obeys_lagranges_equations():
    """d/dt dL/dq' - dL/dq = u - D q', with L the kinetic energy of two rods."""
    family = envs.make("reacher")
    angle, velocity = jnp.array([0.4, 1.1]), jnp.array([0.7, -1.3])
    torque = jnp.array([2.0, -1.0])

    @jax.jit
    def acceleration(angle, velocity, torque):
        energy = lambda q, w: kinetic_energy(family, q, w)
        mass = jax.hessian(energy, 1)(angle, velocity)
        drift = jax.jacobian(jax.grad(energy, 1), 0)(angle, velocity) @ velocity
        force = torque - jnp.asarray(family.damping) * velocity
        return jnp.linalg.solve(mass, force - drift + jax.grad(energy)(angle, velocity))

    expected = acceleration(angle, velocity, torque)
    slope = family._slope((*angle, *velocity), torque)
    np.testing.assert_allclose(slope[:2], velocity)
    np.testing.assert_allclose(slope[2:], expected, rtol=1e-4)


def test_reacher_observes_its_fingertip_and_is_paid_for_its_distance():
    family, target = envs.make("reacher"), np.array([0.3, -0.5])
    state = ReacherState(jnp.array([0.5, -0.8]), jnp.array([0.2, 0.4]), START)
    after = family.step(KEY, state, jnp.array([3.0, -0.5]), jnp.asarray(target, jnp.float32))
    q = np.asarray(after.state.angle, float)
    tip = 0.5 * np.array([np.cos(q[0]) + np.cos(q.sum()), np.sin(q[0]) + np.sin(q.sum())])
    np.testing.assert_allclose(after.obs[6:], tip, atol=1e-6)
    # The action counts as what the motors can do, not as what was asked of them.
    expected = -np.linalg.norm(tip - target) - 0.01 * (1.0 + 0.25)
    np.testing.assert_allclose(after.reward, expected, atol=1e-6)


def test_targets_are_uniform_over_what_the_arm_can_reach():
    family = envs.make("reacher")
    targets = jax.vmap(family.sample)(jax.random.split(KEY, 4000))
    squared = np.sum(np.asarray(targets) ** 2, axis=1)
    low, high = np.array(family.target_radius) ** 2
    assert low - 1e-6 <= squared.min() <= squared.max() <= high + 1e-6
    # Uniform over an area is uniform in the squared radius.
    np.testing.assert_allclose(
        np.quantile(squared, [0.25, 0.5, 0.75]), low + (high - low) * np.array([0.25, 0.5, 0.75]),
        atol=0.02,
    )  # fmt: skip
    np.testing.assert_allclose(np.asarray(targets).mean(0), 0.0, atol=0.03)


def test_cartpole_is_gymnasiums_step_for_step():
    reference = gymnasium.make("CartPole-v1").unwrapped
    family, task = envs.make("cartpole"), jnp.array(0.5)
    step, rng, ends = jax.jit(family.step), np.random.default_rng(0), 0
    for episode in range(5):
        obs, _ = reference.reset(seed=episode)
        state = CartPoleState(jnp.asarray(obs, jnp.float32), START)
        terminated = False
        while not terminated:
            action = int(rng.integers(2))
            obs, reward, terminated, _, _ = reference.step(action)
            after = step(KEY, state, jnp.array(action), task)
            state = after.state
            np.testing.assert_allclose(after.obs, obs, atol=1e-4)
            assert float(after.reward) == reward
            assert bool(after.terminated) == terminated
        ends += 1
    assert ends == 5
    reference.close()


def test_a_family_of_poles_draws_their_lengths():
    family = envs.make("cartpole", half_length=(0.25, 1.0))
    lengths = np.asarray(jax.vmap(family.sample)(jax.random.split(KEY, 500)))
    assert 0.25 <= lengths.min() < 0.3
    assert 0.95 < lengths.max() <= 1.0
    assert family.varies != "nothing"
