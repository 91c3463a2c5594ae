"""Gymnax's environments as ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.envs import Discrete, Environment, Image
from metarlhf.errors import UnknownTaskError
from metarlhf.networks import build_agent
from metarlhf.sampling.compiled import collect, reset

POLE = envs.make("gymnax:CartPole-v1")
KEY = jax.random.key(0)


def test_the_same_name_gives_the_same_environment():
    assert isinstance(POLE, Environment)
    assert envs.make("gymnax:CartPole-v1") is POLE
    assert POLE.horizon == 500
    assert POLE.action_space == Discrete(2, ("action 0", "action 1"))


def test_cartpole_is_ours_step_for_step():
    ours, task, params = envs.make("cartpole"), jnp.array(0.5), POLE.sample(KEY)
    obs, state = POLE.reset(KEY, params)
    _, blank = ours.reset(KEY, task)
    pole, own = jax.jit(POLE.step), jax.jit(ours.step)
    mine = blank._replace(obs=obs)
    for t in range(60):
        action = jnp.asarray(int(t % 3 != 1))
        theirs, step = pole(KEY, state, action, params), own(KEY, mine, action, task)
        state, mine = theirs.state, step.state
        np.testing.assert_allclose(theirs.obs, step.obs, rtol=1e-4, atol=1e-5)
        for name in ("reward", "terminated", "truncated"):
            assert getattr(theirs, name) == getattr(step, name)
        if step.terminated:
            break
    assert step.terminated


def test_a_time_limit_is_a_parameter_and_truncates():
    """Not their automatic reset: what is seen last is kept."""
    short = envs.make("gymnax:CartPole-v1", max_steps_in_episode=3)
    assert short.horizon == 3
    task, agent = short.sample(KEY), build_agent(KEY, short, (4,))
    start = reset(KEY, short, task, agent.actor, 2)
    _, trajectory = jax.jit(lambda s: collect(KEY, short, task, agent.actor, s, 6))(start)
    np.testing.assert_array_equal(trajectory.truncated[0], np.arange(6) % 3 == 2)
    assert not trajectory.terminated.any()
    ours, half_length = envs.make("cartpole"), jnp.array(0.5)
    state = ours.reset(KEY, half_length)[1]._replace(obs=trajectory.obs[0, 2])
    last = ours.step(KEY, state, trajectory.action[0, 2], half_length)
    np.testing.assert_allclose(trajectory.next_obs[0, 2], last.obs, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="does not take the options"):
        envs.make("gymnax:CartPole-v1", wind=3)


def test_minatar_is_seen_as_pictures():
    breakout = envs.make("gymnax:Breakout-MinAtar")
    assert breakout.observation_space == Image((10, 10, 4), "float32")
    obs, _ = breakout.reset(KEY, breakout.sample(KEY))
    assert obs.shape == (10, 10, 4)
    assert obs.dtype == jnp.float32


def test_it_is_no_family_for_a_teacher():
    with pytest.raises(UnknownTaskError, match="no task family"):
        envs.make_family("gymnax:CartPole-v1")
    with pytest.raises(UnknownTaskError, match="CartPole-v1"):
        envs.make("gymnax:CartPole")
