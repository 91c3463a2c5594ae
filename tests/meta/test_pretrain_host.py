"""One policy for all tasks, on simulators outside the program."""

import jax
import numpy as np
import pytest

from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.gradient_prior import GradientPrior, GradientShape
from metarlhf.meta.outer import init
from metarlhf.meta.pretrain_host import AnyTask, pretrain
from metarlhf.ppo import PPOConfig, host
from tests.meta.targets import HORIZON, Targets

KEY = jax.random.key(0)


class OneSide:
    """Targets between 1 and 2: what all have in common is the direction."""

    name, varies, horizon = "targets", "target (1 number)", HORIZON
    observation_space, action_space = Targets.observation_space, Targets.action_space

    def sample(self, key):
        return jax.random.uniform(key, minval=1.0, maxval=2.0)


def test_every_episode_has_a_task_of_its_own_and_none_changes_in_between():
    inner = Targets(3)
    env = AnyTask(inner, OneSide())
    env.reset(7)
    seen = [inner.targets]
    for _ in range(2 * HORIZON):
        env.step(np.zeros((3, 1), np.float32))
        seen.append(inner.targets)
    assert all(np.array_equal(seen[0], each) for each in seen[1:HORIZON])
    assert not np.intersect1d(seen[0], seen[HORIZON]).size
    assert not np.intersect1d(seen[HORIZON], seen[2 * HORIZON]).size
    env.reset(7)
    np.testing.assert_array_equal(inner.targets, seen[0])


def test_where_some_episodes_end_the_others_keep_their_tasks():
    inner = Targets(2, ends=True)
    env = AnyTask(inner, OneSide())
    env.reset(0)
    before = inner.targets
    # The first is at its target in a step of this size, and the second is not.
    env.step(np.array([[before[0] - inner.x[0]], [0.0]], np.float32))
    assert inner.targets[0] != before[0]
    assert inner.targets[1] == before[1]


def test_it_learns_what_pays_on_average():
    config = MetaRLConfig(hidden=(8,), learn_inner_lr="tensor")
    state = init(KEY, OneSide(), config)
    start = GradientPrior(state.agent, state.rule, None, None, GradientShape("targets", config))
    learning = PPOConfig(total_steps=4000, num_envs=8, num_steps=50, lr=5e-3)
    last = pretrain(KEY, Targets(8), OneSide(), start, learning)
    evaluated = AnyTask(Targets(20), OneSide())
    before, after = (
        float(host.evaluate(KEY, evaluated, agent.actor).mean())
        for agent in (start.agent, last.agent)
    )
    assert before == pytest.approx(-1.5 * HORIZON, abs=1)
    assert after > -0.6 * HORIZON
