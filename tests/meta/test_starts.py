"""Starts that no meta-objective made: what they learn from, and how long their steps are."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo
from metarlhf.envs.navigation import Navigation
from metarlhf.experiments import references
from metarlhf.experiments.evaluation import adapt_from_prior
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.prior import GradientPrior, GradientShape
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.ppo import PPOConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.host import evaluate
from tests.meta.targets import HORIZON, Targets

NO_QUESTIONS = RLHFConfig(labels=0)
KEY = jax.random.key(0)
FAMILY = envs.make_family("navigation")
POLICY = MetaRLConfig(
    inner_lr=2.0, gamma=0.7, normalise_advantage=False, learn_offset=True, meta_batch=5,
    episodes=10, iterations=8, hidden=(16,),
)  # fmt: skip
SHAPE = GradientShape(FAMILY.name, POLICY)
TASKS = held_out_tasks(FAMILY, 10)


def returns(start, tasks=TASKS):
    return adapt_from_prior(KEY, FAMILY, tasks, start, NO_QUESTIONS, steps=1).curve.returns


class OneCorner(Navigation):
    """Goals that are all near one another: it pays to learn the average of all tasks."""

    def sample(self, key):
        return jnp.array([0.4, 0.3]) + 0.05 * super().sample(key)


@pytest.mark.parametrize("normalised", [False, True])
def test_pretraining_learns_what_pays_on_average(normalised):
    family = OneCorner()
    config = PPOConfig(
        total_steps=80_000, num_envs=8, num_steps=100, gamma=0.9, normalise_reward=normalised
    )
    shape = replace(SHAPE, policy=replace(POLICY, normalise_obs=normalised))
    goals = jax.vmap(family.sample)(jax.random.split(KEY, 10))
    # It stays where it is.
    assert returns(references.random_start(KEY, shape), goals)[0].mean() == pytest.approx(
        -50, abs=3
    )
    pretrained = references.pretrained_start(KEY, shape, family, config)
    assert returns(pretrained, goals)[0].mean() > -15


def test_values_are_in_units_of_reward_again_after_pretraining():
    """PPO taught them rewards over their standard deviation; gradient steps see them as paid."""
    config = PPOConfig(num_envs=2, num_steps=10, hidden=(4,), normalise_reward=True)
    state = ppo.init(KEY, CompiledSampler(FAMILY, TASKS[0], config.num_envs), config)
    where = lambda s: s.reward_scale.moments.mean_variance
    state = eqx.tree_at(where, state, jnp.array([5.0, 9.0]))
    obs = jax.random.normal(KEY, (7, 2))
    found = references._in_units_of_reward(state)
    np.testing.assert_allclose(found.critic(obs), 3 * state.agent.critic(obs), rtol=1e-5)
    np.testing.assert_array_equal(found.actor(obs)[0].mode(), state.agent.actor(obs)[0].mode())
    plain = ppo.init(
        KEY,
        CompiledSampler(FAMILY, TASKS[0], replace(config, normalise_reward=False).num_envs),
        replace(config, normalise_reward=False),
    )
    assert references._in_units_of_reward(plain) is plain.agent


def test_pretraining_stops_with_its_budget(monkeypatch):
    updates, real = [], ppo.iterate_many
    monkeypatch.setattr(
        ppo, "iterate_many", lambda *words: (updates.append(words[-1]), real(*words))[1]
    )
    config = PPOConfig(total_steps=700, num_envs=2, num_steps=50, evaluate_every=3)
    references.pretrained_start(KEY, SHAPE, FAMILY, config)
    assert updates == [3, 3, 1]


def test_a_start_gets_the_step_size_that_does_best():
    random = references.random_start(KEY, SHAPE)
    found = references.tuned(random, lambda start: float(returns(start)[-1].mean()))
    power = np.log(found.step_size / 2.0) / np.log(references.FACTOR)
    assert power == pytest.approx(round(power), abs=1e-5)
    still, moved = returns(random), returns(found.start)
    np.testing.assert_array_equal(still[0], moved[0])
    assert moved[1].mean() > moved[0].mean() + 5
    assert moved[1].mean() > still[1].mean()


def test_a_step_size_that_ends_in_no_number_is_never_the_best():
    random = references.random_start(KEY, SHAPE)
    size = lambda start: float(jax.tree.leaves(start.rule.multiples)[0].ravel()[0])
    found = references.tuned(random, lambda start: np.nan if size(start) > 0.2 else size(start))
    assert found.step_size == pytest.approx(2.0 / 9)
    assert size(found.start) == pytest.approx(1 / 9)


@pytest.mark.parametrize("best", [-6, 0, 5])
def test_where_the_best_step_size_stands_at_an_end_more_are_tried_beyond_it(best):
    random, tried = references.random_start(KEY, SHAPE), []

    def judged(start):
        multiple = float(jax.tree.leaves(start.rule.multiples)[0].ravel()[0])
        tried.append(round(np.log(multiple) / np.log(references.FACTOR)))
        return -float(abs(tried[-1] - best))

    found = references.tuned(random, judged)
    assert found.step_size == pytest.approx(2.0 * references.FACTOR**best)
    assert len(tried) <= len(references.POWERS) + references.MORE
    assert len(set(tried)) == len(tried)


@pytest.mark.parametrize(("rule", "step_size"), [("sgd", 2.0), ("adam", references.STEP_SIZE)])
def test_nothing_of_the_steps_is_learned(rule, step_size):
    policy = replace(POLICY, inner_rule=rule, learn_inner_lr="none")
    start = references.random_start(KEY, replace(SHAPE, policy=policy))
    assert start.rule.offset is None
    assert start.rule.network is None
    assert start.shape.policy.inner_lr == step_size
    assert all(np.all(leaf == 1.0) for leaf in jax.tree.leaves(start.rule.multiples))


class OneSide:
    """Simulators outside the program, whose targets are between 1 and 2."""

    name, varies, horizon = "targets", "target (1 number)", HORIZON
    observation_space, action_space = Targets.observation_space, Targets.action_space

    def sample(self, key):
        return jax.random.uniform(key, minval=1.0, maxval=2.0)


class Noted(Targets):
    """Notes what it is told, and refuses it in the middle of an episode."""

    def __init__(self, num_envs):
        super().__init__(num_envs)
        self.told, self.fresh = [], False

    def set_tasks(self, tasks):
        super().set_tasks(tasks)
        self.told.append(np.array(tasks))
        self.fresh = True

    def reset(self, seed):
        self.fresh = False
        return super().reset(seed)

    def step(self, actions):
        assert not self.fresh, "a new episode should begin before the next step"
        return super().step(actions)


def test_on_simulators_outside_the_program_every_update_has_tasks_of_its_own(monkeypatch):
    policy = MetaRLConfig(hidden=(8,))
    state = outer.init(KEY, OneSide(), policy)
    start = GradientPrior(state.agent, state.rule, None, None, GradientShape("targets", policy))
    monkeypatch.setattr(references, "random_start", lambda key, shape: start)
    config = PPOConfig(total_steps=4000, num_envs=8, num_steps=HORIZON, lr=5e-3)
    env = Noted(8)
    found = references.pretrained_start_on_host(KEY, start.shape, env, OneSide(), config)
    assert len(np.unique(np.concatenate(env.told[1:]))) == 8 * 100
    evaluated = Targets(20)
    evaluated.set_tasks(np.linspace(1, 2, 20))
    before, after = (
        float(evaluate(KEY, evaluated, one.agent.actor).mean()) for one in (start, found)
    )
    assert before == pytest.approx(-1.5 * HORIZON, abs=1)
    assert after > -0.6 * HORIZON
