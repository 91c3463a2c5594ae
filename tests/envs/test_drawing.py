"""Drawings show where the agent went and what it was to do, at the right places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from metarlhf import envs
from metarlhf.envs.drawing import TARGET, draw, draw_trajectory

SPATIAL = (
    "navigation/finn2017",
    "navigation/pearl2019",
    "navigation/hazard",
    "reacher",
    "pendulum",
)


@pytest.fixture
def axes():
    return Figure().subplots()


def stars(axes):
    return [line.get_xydata()[0] for line in axes.get_lines() if line.get_marker() == "*"]


def dots(axes):
    """Where the agent ends: the last full dot."""
    full = [
        line
        for line in axes.get_lines()
        if line.get_marker() == "o" and line.get_color() == "C0" and len(line.get_xdata()) == 1
    ]
    return full[-1].get_xydata()[0]


def test_navigation_goes_from_ring_to_dot(axes):
    path = np.array([[0.0, 0.0], [0.1, 0.0], [0.1, 0.3]])
    draw_trajectory(axes, envs.make("navigation"), path, np.array([0.2, -0.4]))
    np.testing.assert_allclose(stars(axes), [[0.2, -0.4]])
    np.testing.assert_allclose(dots(axes), path[-1])
    (drawn,) = axes.collections
    np.testing.assert_allclose(drawn.get_segments(), [path[:2], path[1:]])
    assert (np.diff(drawn.get_alpha()) > 0).all()


def test_sparse_navigation_shows_where_reward_is_paid(axes):
    draw_trajectory(axes, envs.make("navigation/pearl2019"), np.zeros((4, 2)), np.array([0.0, 1.0]))
    rings = [
        line.get_xydata()
        for line in axes.get_lines()
        if line.get_color() == TARGET and len(line.get_xdata()) > 10
    ]
    np.testing.assert_allclose(np.linalg.norm(rings[0] - [0, 1], axis=1), 0.2, atol=1e-6)


def test_pendulum_stands_up_at_angle_zero_and_turns_counter_clockwise(axes):
    theta = np.array([np.pi / 2, 0.0])
    obs = np.stack([np.cos(theta), np.sin(theta), 0 * theta], axis=1)
    draw_trajectory(axes, envs.make("pendulum"), obs, np.float32(np.pi / 2))
    np.testing.assert_allclose(dots(axes), [0, 1], atol=1e-6)
    np.testing.assert_allclose(stars(axes), [[-1, 0]], atol=1e-6)


def test_reacher_arm_ends_at_the_fingertip(axes):
    family = envs.make("reacher")
    obs, _ = family.reset(jax.random.key(0), jnp.array([0.1, 0.1]))
    obs = np.asarray(obs)[None]
    draw_trajectory(axes, family, obs, np.array([0.05, 0.1]))
    np.testing.assert_allclose(stars(axes), [[0.05, 0.1]])
    np.testing.assert_allclose(dots(axes), obs[0, 6:8])
    arm = [line.get_xydata() for line in axes.get_lines() if len(line.get_xdata()) == 3][-1]
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(arm, axis=0), axis=1), family.link_length, rtol=1e-4
    )
    np.testing.assert_allclose(arm[-1], obs[0, 6:8], atol=1e-6)


def test_cartpole_is_drawn_in_fractions_of_what_ends_it(axes):
    family = envs.make("cartpole")
    obs = np.zeros((3, 4))
    obs[:, 0], obs[:, 2] = family.max_position, -family.max_angle / 2
    draw_trajectory(axes, family, obs)
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    np.testing.assert_allclose(lines["pole angle"], -0.5)
    np.testing.assert_allclose(lines["cart position"], 1.0)


@pytest.mark.parametrize("name", SPATIAL)
def test_the_view_is_square_and_holds_all(axes, name):
    family = envs.make(name)
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(20, family.observation_space.size))
    draw_trajectory(axes, family, obs)
    assert not stars(axes), "no task was given, so none can be shown"
    view = np.array([axes.get_xlim(), axes.get_ylim()])
    np.testing.assert_allclose(*np.diff(view)[:, 0])
    (path,) = axes.collections
    points = np.concatenate(path.get_segments())
    assert (points > view[:, 0]).all()
    assert (points < view[:, 1]).all()


@pytest.mark.parametrize("name", [*SPATIAL, "cartpole"])
def test_a_clip_of_one_step_and_of_no_movement(axes, name):
    family = envs.make(name)
    draw_trajectory(axes, family, np.zeros((1, family.observation_space.size)))
    draw_trajectory(axes, family, np.zeros((5, family.observation_space.size)))
    axes.figure.draw_without_rendering()


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 2), (0, 2)])
def test_other_shapes_are_refused(axes, shape):
    with pytest.raises(ValueError, match=r"navigation/finn2017, \(time, 2\)"):
        draw_trajectory(axes, envs.make("navigation"), np.zeros(shape))


class Heater:
    """A family that nobody taught to be drawn: a room to be kept warm."""

    name, varies = "heater", "temperature to keep"
    horizon, segment_length = 10, 5
    reward_bounds = (-1.0, 0.0)
    observation_space = envs.Box(2, 0.0, 100.0, ("inside", "outside"))
    action_space = envs.Discrete(2, ("off", "on"))

    def sample(self, key):
        return jax.random.uniform(key, minval=15.0, maxval=25.0)

    def reset(self, key, task):
        obs = jnp.array([10.0, 10.0])
        return obs, obs

    def step(self, key, state, action, task):
        obs = state + jnp.array([1.0, 0.0]) * action
        reward = self.reward(state, action, obs, task)
        return envs.Step(obs, obs, reward, jnp.array(False), jnp.array(False))

    def reward(self, obs, action, next_obs, task):
        return -jnp.abs(next_obs[0] - task)

    def without_termination(self):
        return self


def test_a_family_of_your_own_is_drawn_as_its_observations_until_taught(axes):
    obs = np.arange(6.0).reshape(3, 2)
    draw_trajectory(axes, Heater(), obs)
    assert [line.get_label() for line in axes.get_lines()] == ["inside", "outside"]
    np.testing.assert_allclose(axes.get_lines()[1].get_ydata(), obs[:, 1])

    axes.figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().y1 < axes.get_window_extent().y0, "covers curves"

    class Cooler(Heater):
        pass

    @draw.register(Cooler)
    def draw_cooler(family, axes, obs, task):
        axes.plot(*obs.T)

    fresh = Figure().subplots()
    draw_trajectory(fresh, Cooler(), obs)
    assert len(fresh.get_lines()) == 1


def test_many_observations_can_be_told_from_one_another(axes):
    class Many(Heater):
        observation_space = envs.Box(16, 0.0, 1.0, tuple(f"sensor {i}" for i in range(16)))

    draw_trajectory(axes, Many(), np.zeros((3, 16)))
    looks = {
        (line.get_color(), str(line._dash_pattern), line.get_alpha()) for line in axes.get_lines()
    }
    assert len(looks) == 16
