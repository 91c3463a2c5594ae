"""Starts that no meta-objective made: what they learn from, and how long their steps are."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.envs.navigation import Navigation
from metarlhf.meta import starts
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.evaluate import held_out_tasks, teach_by_gradient
from metarlhf.meta.gradient_prior import GradientShape
from metarlhf.ppo import PPOConfig

KEY = jax.random.key(0)
FAMILY = envs.make_family("navigation")
POLICY = MetaRLConfig(
    inner_lr=2.0, gamma=0.7, normalise_advantage=False, learn_offset=True, meta_batch=5,
    episodes=10, iterations=8, hidden=(16,),
)  # fmt: skip
SHAPE = GradientShape(FAMILY.name, POLICY)
TASKS = held_out_tasks(FAMILY, 10)


def returns(start, tasks=TASKS):
    return teach_by_gradient(KEY, FAMILY, tasks, start, starts.NOBODY, steps=1).curve.returns


class OneCorner(Navigation):
    """Goals that are all near one another: it pays to learn the average of all tasks."""

    def sample(self, key):
        return jnp.array([0.4, 0.3]) + 0.05 * super().sample(key)


def test_pretraining_learns_what_pays_on_average_in_the_steps_of_meta_training():
    family, config = OneCorner(), PPOConfig(num_envs=8, num_steps=100, gamma=0.97)
    assert starts.meta_training_steps(SHAPE, family) == 8 * 5 * 10 * 2 * 100
    random = starts.random_start(KEY, SHAPE)
    pretrained = starts.pretrained_start(KEY, SHAPE, family, config)
    goals = jax.vmap(family.sample)(jax.random.split(KEY, 10))
    assert returns(random, goals)[0].mean() == pytest.approx(-50, abs=3)  # it stays where it is
    assert returns(pretrained, goals)[0].mean() > -15


def test_a_start_gets_the_step_size_that_does_best(monkeypatch):
    random = starts.random_start(KEY, SHAPE)
    monkeypatch.setattr(starts, "MULTIPLES", (1e-6, 0.1, 1e4))
    found = starts.tuned(KEY, random, 1)
    assert found.step_size == pytest.approx(0.2)
    still, moved = returns(random), returns(found.start)
    np.testing.assert_array_equal(still[0], moved[0])
    assert moved[1].mean() > moved[0].mean() + 5


@pytest.mark.parametrize(("rule", "step_size"), [("sgd", 2.0), ("adam", starts.STEP_SIZE)])
def test_nothing_of_the_steps_is_learned(rule, step_size):
    policy = replace(POLICY, inner_rule=rule, learn_inner_lr="none")
    start = starts.random_start(KEY, replace(SHAPE, policy=policy))
    assert start.rule.offset is None
    assert start.rule.network is None
    assert start.shape.policy.inner_lr == step_size
    assert all(np.all(leaf == 1.0) for leaf in jax.tree.leaves(start.rule.multiples))
