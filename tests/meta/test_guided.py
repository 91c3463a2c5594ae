"""Experts of single tasks, and learners that come to do after a step what experts do at once."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.meta import guided, outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.guided import Experts, distinct_tasks, train_alone
from metarlhf.meta.inner import play_and_adapt
from metarlhf.meta.outer_steps import outer_step
from metarlhf.meta.tasks import for_each
from metarlhf.networks import DiagGaussian
from metarlhf.ppo import PPOConfig
from metarlhf.sampling import HostTaskSampler, num_simulators
from tests.meta.targets import HORIZON, Targets

KEY = jax.random.key(0)
UNTRAINED = -1.5 * HORIZON  # it stays where it is
ALONE = PPOConfig(total_steps=8000, num_envs=8, num_steps=HORIZON, lr=5e-3, hidden=(16,))
CONFIG = MetaRLConfig(
    method="guided", meta_batch=4, episodes=8, iterations=30, epochs=10, lr=5e-3, hidden=(16,),
    inner_lr=0.3, initial_std=0.5, kl_coefficient=1.0, gamma=0.8,
)  # fmt: skip


class Sides:
    """Targets on one of two sides."""

    name, varies, horizon = "targets", "side", HORIZON
    observation_space, action_space = Targets.observation_space, Targets.action_space

    def sample(self, key):
        return 1.5 * jax.random.rademacher(key, (), float)

    def connect(self, num_envs):
        return Targets(num_envs)


FAMILY = Sides()


def sampler_of():
    return HostTaskSampler(FAMILY, Targets(num_simulators(CONFIG.meta_batch, CONFIG.episodes)))


def played(experts, state):
    agents = for_each(experts.count, state.agent)
    return play_and_adapt(KEY, sampler_of(), experts.tasks, agents, state.rule, CONFIG, 1)


@pytest.fixture(scope="module")
def experts():
    tasks = distinct_tasks(KEY, FAMILY, 8)
    made = [train_alone(KEY, FAMILY, task, ALONE) for task in tasks]
    assert all(paid > UNTRAINED + 4 for _, paid in made)
    return Experts(tasks, jax.tree.map(lambda *x: jnp.stack(x), *(agent for agent, _ in made)))


def test_a_task_that_is_drawn_twice_counts_once():
    tasks = distinct_tasks(KEY, FAMILY, 8)
    assert sorted(np.asarray(tasks)) == [-1.5, 1.5]


def test_experts_are_drawn_with_their_own_tasks(experts):
    some = experts.some(KEY, 20)
    assert set(np.asarray(some.tasks).tolist()) == {-1.5, 1.5}
    obs = jnp.zeros((1, 1))
    for task, agent in zip(some.tasks, range(20), strict=True):
        own = jax.tree.map(lambda x: x[agent], some.agents)
        assert np.sign(own.actor(obs)[0].mode()[0, 0]) == np.sign(task)


def test_a_step_comes_to_what_experts_do(experts):
    sampler = sampler_of()
    state, rows = outer.init(KEY, FAMILY, CONFIG), []
    for _ in range(CONFIG.iterations):
        state, metrics = outer.meta_iterate(state, sampler, CONFIG, experts)
        rows.append(metrics)
    first = rows[0]
    last = {name: np.mean([row[name] for row in rows[-5:]]) for name in first}
    assert last["return"] > last["return_before"] + 4
    assert last["return"] > first["return"] + 2
    assert last["return"] > UNTRAINED + 5
    assert last["advice_kl"] < first["advice_kl"] / 2


def test_advice_is_within_the_range_of_actions_and_of_each_task(experts):
    some = experts.some(KEY, CONFIG.meta_batch)
    state = outer.init(KEY, FAMILY, CONFIG)
    loop = played(some, state)
    far = some._replace(agents=jax.tree.map(lambda x: 100 * x, some.agents))
    advice = guided.advise(far, loop, std=0.1)
    assert isinstance(advice, DiagGaussian)
    assert advice.mean.shape == (1, CONFIG.meta_batch, CONFIG.episodes, HORIZON, 1)
    assert np.abs(advice.mean).max() == 1.0
    np.testing.assert_allclose(advice.log_std, np.log(0.1), rtol=1e-6)  # not what experts explore
    first = np.asarray(advice.mean)[0, :, :, 0].mean((1, 2))
    np.testing.assert_array_equal(np.sign(first), np.sign(some.tasks))


def test_what_is_imitated_is_near_in_the_direction_that_does_not_make_up_by_acting_at_random():
    """Of two normals that differ in both, by their closed form; each step weighs what it weighs."""
    mean, std = np.array([[0.3], [-0.2]]), 0.5
    says = DiagGaussian(jnp.asarray(mean), jnp.full((2, 1), np.log(std)))
    advised = DiagGaussian(jnp.zeros((2, 1)), jnp.full((2, 1), np.log(0.2)))
    weight = jnp.array([1.0, 0.0])
    expected = np.log(0.2 / std) + (std**2 + mean[0, 0] ** 2) / (2 * 0.2**2) - 0.5
    found = guided.kl_of_advice(weight, advised, says)
    assert found == pytest.approx(expected / 2, rel=1e-5)  # the mean over both
    # Whoever is off does not get nearer by more noise.
    noisy = eqx.tree_at(lambda d: d.log_std, says, jnp.log(jnp.full((2, 1), 0.8)))
    assert guided.kl_of_advice(weight, advised, noisy) > found


def test_the_penalty_holds_what_collects_and_has_a_target(experts):
    some = experts.some(KEY, CONFIG.meta_batch)
    state = outer.init(KEY, FAMILY, CONFIG)
    loop = played(some, state)
    advice = guided.advise(some, loop, CONFIG.advice_std)

    def learned(**chosen):
        config = replace(CONFIG, **chosen)
        begun = outer.init(KEY, FAMILY, config)
        return guided.guided_step(begun, loop, config, advice=advice)

    (_, held), (_, loose) = (learned(kl_coefficient=c) for c in (100.0, 0.0))
    assert held["kl"] < 0.5 * loose["kl"]
    after, _ = learned(kl_target=1e-9)
    assert float(after.kl_coefficient[0]) > CONFIG.kl_coefficient


def test_without_advice_it_does_not_pretend():
    with pytest.raises(ValueError, match=r"meta\.outer\.iterate"):
        outer_step(CONFIG)
    with pytest.raises(ValueError, match="leave outer_step at adam"):
        replace(CONFIG, outer_step="trpo")
    with pytest.raises(ValueError, match="expert_steps must be at least 1"):
        replace(CONFIG, expert_steps=0)
