"""Families made of Gymnax's environments by what varies in them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.envs import registry
from metarlhf.envs.distributions import distribution
from metarlhf.errors import SimulatorError, UnknownTaskError, VariationError
from metarlhf.feedback import Library
from metarlhf.meta.tasks import held_out_tasks

KEY = jax.random.key(0)
ROD = "gymnax:Pendulum-v1?g=uniform(5,15)"
POLE = "gymnax:CartPole-v1?length=log-uniform(0.25,1)"
CAR = "gymnax:MountainCarContinuous-v0?goal_position=uniform(-0.4,0.4)"


def draws(text):
    one = distribution(text)
    return np.asarray(jax.vmap(one.sample)(jax.random.split(KEY, 4000)))


def test_draws_are_spread_as_the_words_say():
    flat, log, some = draws("uniform(5,15)"), draws("log-uniform(0.25, 4)"), draws("choice(1,2,8)")
    assert 5 <= flat.min() < 5.1 < 14.9 < flat.max() <= 15
    assert abs(flat.mean() - 10) < 0.2
    assert abs(np.median(log) - 1) < 0.1  # the middle by ratio, not by difference
    assert 0.25 <= log.min() < 0.26 < 3.9 < log.max() <= 4.0001
    values, counts = np.unique(some, return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 8])
    assert counts.min() > 1200
    assert set(draws("3")) == {3.0}


@pytest.mark.parametrize(
    "text",
    ["uniform(3,2)", "uniform(1)", "log-uniform(0,1)", "normal(0,1)", "uniform(a,b)", "1,2", ""],
)
def test_what_is_no_distribution_is_refused(text):
    with pytest.raises(VariationError, match="expected"):
        distribution(text)


@pytest.mark.parametrize(("name", "field"), [(ROD, "g"), (POLE, "length")])
def test_it_is_a_family_that_its_name_finds_again(name, field):
    family = envs.make_family(name)
    assert isinstance(family, envs.TaskFamily)
    assert envs.make(name.replace(",", " , ")) is family
    envs.check_name(family)
    tasks = held_out_tasks(family, 8)
    assert len(np.unique(getattr(tasks, field))) == 8
    others = {k: v for k, v in vars(tasks).items() if k not in (field, "polemass_length")}
    assert all(len(np.unique(values)) == 1 for values in others.values())


def test_components_are_named_by_what_they_show():
    assert envs.make_family(ROD).observation_space.names == ("cos theta", "sin theta", "theta dot")
    assert envs.make_family(POLE).observation_space.names == ("x", "x dot", "theta", "theta dot")


def test_bounds_of_rewards_are_those_seen():
    low, high = envs.make_family(ROD).reward_bounds
    worst = np.pi**2 + 0.1 * 8**2 + 0.001 * 2**2
    assert -worst < low < -0.6 * worst
    assert high == 0
    assert envs.make_family(POLE).reward_bounds == (0.0, 1.0)


def test_a_longer_pole_has_the_moment_of_a_longer_pole():
    """Step for step what our own cart does, whose only parameter is the length."""
    family, ours = envs.make_family(POLE), envs.make("cartpole", half_length=(0.25, 1.0))
    task = family.sample(jax.random.key(5))
    obs, state = family.reset(KEY, task)
    mine = ours.reset(KEY, task.length)[1]._replace(obs=obs)
    for t in range(8):
        theirs = family.step(KEY, state, jnp.asarray(t % 2), task)
        own = ours.step(KEY, mine, jnp.asarray(t % 2), task.length)
        state, mine = theirs.state, own.state
        np.testing.assert_allclose(theirs.obs, own.obs, rtol=1e-4, atol=1e-5)


def test_a_teacher_judges_a_clip_by_a_task_it_was_not_recorded_in():
    """The prize is beyond the goal: a clip at one place is worth it in one task, not in another."""
    family = envs.make_family(CAR)
    near, far = (family.sample(KEY).replace(goal_position=jnp.asarray(x)) for x in (-0.3, 0.3))
    obs, action = jnp.array([-0.1, 0.02]), jnp.array([0.5])
    assert family.reward(obs, action, obs, near) == pytest.approx(100 - 0.1 * 0.5**2, abs=1e-4)
    assert family.reward(obs, action, obs, far) == pytest.approx(-0.1 * 0.5**2, abs=1e-4)


def test_the_rods_pay_is_gymnasiums_formula():
    family = envs.make_family(ROD)
    angle, speed, torque = 2.0, -1.5, 0.7
    obs = jnp.array([np.cos(angle), np.sin(angle), speed])
    paid = family.reward(obs, jnp.array([torque]), obs, family.sample(KEY))
    assert paid == pytest.approx(-(angle**2 + 0.1 * speed**2 + 0.001 * torque**2), rel=1e-5)


def test_where_observations_do_not_tell_what_pays_no_teacher_judges_other_tasks():
    maze = envs.make_family("gymnax:MetaMaze-misc?reward=uniform(1,5)")
    blank = Library.blank(maze, 0)
    assert blank.seen_under(maze, maze.sample(KEY)) is blank.clips  # RLHF in one task needs no more
    with pytest.raises(SimulatorError, match="do not show all that decides"):
        Library.blank(maze, 2).seen_under(maze, maze.sample(KEY))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gymnax:Pendulum-v1?gravity=uniform(5,15)", r"no parameter 'gravity'; .*\bg\b"),
        ("gymnax:Pendulum-v1?max_steps_in_episode=uniform(5,15)", "whole number"),
        ("gymnax:Acrobot-v1?available_torque=uniform(0,1)", "not a number"),
        ("gymnax:Pendulum-v1?max_torque=uniform(1,3)", "what actions there are"),
        ("gymnax:Pendulum-v1?g", "PARAMETER=DISTRIBUTION"),
        ("gymnax:Pendulum-v1?g=1&g=2", "twice"),
        ("gymnax:Pendulum-v1?g=normal(5,1)", r"expected uniform\(LOW,HIGH\)"),
        ("navigation?speed=1", "Gymnax's environments alone"),
        ("gymnax:Pendulum-v9?g=1", "Close are"),
    ],
)
def test_what_cannot_vary_is_refused_with_the_reason(name, message):
    with pytest.raises(UnknownTaskError, match=message):
        envs.make(name)


def test_pictures_are_no_familys():
    with pytest.raises(SimulatorError, match="seen as vectors"):
        envs.make("gymnax:Breakout-MinAtar?max_steps_in_episode=20")


def test_a_number_is_so_in_every_task():
    short = envs.make("gymnax:Pendulum-v1?g=uniform(5,15)&m=2&max_steps_in_episode=30")
    assert short.horizon == 30
    assert short.segment_length == 3
    assert float(short.sample(KEY).m) == 2
    assert short.varies == "g uniform(5,15)"


@pytest.mark.parametrize("name", [ROD, POLE])
def test_a_family_may_be_first_asked_for_while_something_is_traced(name, monkeypatch):
    """As where a prior is read in a process of its own."""
    monkeypatch.setattr(registry, "_made", {})

    def begin(key):
        family = envs.make_family(name)
        return family.reset(key, family.sample(key))[0]

    traced = jax.eval_shape(begin, KEY)
    family = envs.make_family(name)  # nothing of the trace is left in it
    assert traced.shape == (family.observation_space.size,)
    assert np.isfinite(begin(KEY)).all()
