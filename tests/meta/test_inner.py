"""Collecting, judging and adapting: what an inner loop leaves."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.estimators import features, fit, judge
from metarlhf.meta.inner import adapt, gradient_step, play_and_adapt
from metarlhf.meta.update_rules import initial_rule, update_rule
from metarlhf.networks import build_agent
from metarlhf.sampling import CompiledTaskSampler

FAMILY = envs.make("navigation")
SAMPLER = CompiledTaskSampler(FAMILY)
CONFIG = MetaRLConfig(episodes=4, meta_batch=2, hidden=(8,), inner_lr=0.3, inner_steps=2)
TASKS = jnp.array([[0.05, 0.0], [-0.3, 0.4]])
RIDGE = CONFIG.baseline_ridge


@pytest.fixture(scope="module")
def agent():
    # Steps of about 0.03 cross a goal this near in every third episode; longer ones jump over it.
    return build_agent(jax.random.key(0), FAMILY, CONFIG.hidden, initial_std=0.3)


def worthless(agent):
    """The same policy, with a value function of zero: nothing but rewards speaks."""
    return eqx.tree_at(lambda a: a.critic, agent, jax.tree.map(jnp.zeros_like, agent.critic))


@pytest.fixture(scope="module")
def trajectory(agent):
    """Twenty episodes towards a goal so near that chance ends some."""
    agents = jax.tree.map(lambda x: x[None], agent)
    many = SAMPLER.episodes(jax.random.key(1), TASKS[:1], agents, 20)
    return jax.tree.map(lambda x: x[0], many)


def reference_advantage(agent, trajectory, gamma, gae_lambda, ridge=RIDGE, seen=np.asarray):
    """By plain loops over first episodes, in double precision."""
    reward, done = np.asarray(trajectory.reward, float), np.asarray(trajectory.done)
    horizon = reward.shape[1]
    after = np.asarray(agent.critic(trajectory.next_obs), float)
    ends = [int(np.argmax(row)) + 1 if row.any() else horizon for row in done]

    def row_features(obs, time):
        time = time / horizon
        return np.concatenate([obs, obs**2, [time, time**2, time**3, 1.0]])

    returns, inputs = [], []
    for i, end in enumerate(ends):
        tail = 0.0 if trajectory.terminated[i, end - 1] else after[i, end - 1]
        for t in reversed(range(end)):
            tail = reward[i, t] + gamma * tail
            returns.append(tail)
            inputs.append(row_features(np.asarray(seen(trajectory.obs[i, t]), float), t))
    x, y = np.array(inputs), np.array(returns)
    # A mean over steps that count, not over all, weighs the ridge likewise.
    w = np.linalg.solve(x.T @ x / len(y) + ridge * np.eye(x.shape[1]), x.T @ y / len(y))
    advantage = np.zeros_like(reward)
    for i, end in enumerate(ends):
        tail = 0.0
        for t in reversed(range(end)):
            value = row_features(np.asarray(seen(trajectory.obs[i, t]), float), t) @ w
            follows = row_features(np.asarray(seen(trajectory.next_obs[i, t]), float), t + 1) @ w
            if t == end - 1:
                follows = 0.0 if trajectory.terminated[i, t] else after[i, t]
            tail = reward[i, t] + gamma * follows - value + gamma * gae_lambda * tail
            advantage[i, t] = tail
    counts = np.arange(horizon) < np.array(ends)[:, None]
    return advantage - advantage[counts].mean(), counts


@pytest.mark.parametrize("normalise", [True, False])
def test_advantages_are_those_of_plain_loops_in_double_precision(agent, trajectory, normalise):
    assert trajectory.terminated.any()
    expected, counts = reference_advantage(agent, trajectory, 0.9, 0.8)
    samples = judge(agent, trajectory, 0.9, 0.8, normalise, RIDGE)
    if normalise:
        expected = expected / expected[counts].std()
    weight = counts / counts.mean()
    np.testing.assert_allclose(samples.weight, weight, rtol=1e-5)
    # The fit is in single precision, of features that resemble each other.
    scale = np.abs(expected[counts]).mean()
    np.testing.assert_allclose(samples.advantage, expected * weight, atol=0.02 * scale)


def test_the_baseline_is_held_near_nothing_and_sees_what_the_agent_does(agent, trajectory):
    scaled = build_agent(jax.random.key(0), FAMILY, CONFIG.hidden, normalise_obs=True)
    moments = scaled.critic.whole_body.moments.update(trajectory.obs)
    scaled = scaled.with_moments(moments)
    expected, counts = reference_advantage(scaled, trajectory, 0.9, 0.8, 0.3, moments.normalise)
    samples = judge(scaled, trajectory, 0.9, 0.8, False, 0.3)
    scale = np.abs(expected[counts]).mean()
    np.testing.assert_allclose(
        samples.advantage[counts], expected[counts] * counts.size / counts.sum(), atol=0.02 * scale
    )
    plain = judge(scaled, trajectory, 0.9, 0.8, False, RIDGE)
    assert np.abs(plain.advantage - samples.advantage).max() > 0.1 * scale


def test_what_follows_the_first_episode_changes_nothing(agent, trajectory):
    """Neither the policy's gradient nor the value function's targets that count."""
    beyond = jnp.cumsum(trajectory.done, -1) - trajectory.done > 0
    assert beyond.any()
    paid = trajectory.with_reward(jnp.where(beyond, 1e3, trajectory.reward))
    one, other = (judge(agent, t, 0.9, 1.0, True, RIDGE) for t in (trajectory, paid))
    np.testing.assert_allclose(one.advantage, other.advantage, atol=1e-4)
    np.testing.assert_allclose(
        one.value_target * one.weight, other.value_target * other.weight, atol=1e-4
    )


def test_the_fit_recovers_a_baseline_of_its_own_features():
    obs = jax.random.normal(jax.random.key(0), (6, 30, 2))
    inputs = features(obs, jnp.arange(30) / 30)
    true = jnp.array([1.0, -2.0, 0.5, 3.0, 4.0, -1.0, 2.0, 5.0])
    weight = jnp.ones((6, 30)).at[:3, 10:].set(0.0)
    target = jnp.where(weight > 0, inputs @ true, 1e3)
    np.testing.assert_allclose(
        inputs @ fit(inputs, target, weight, RIDGE), inputs @ true, atol=0.05
    )


def test_an_inner_step_raises_the_probability_of_what_was_better(agent, trajectory):
    samples = judge(agent, trajectory, 0.9, 1.0, True, RIDGE)
    rule = update_rule(initial_rule(jax.random.key(9), agent.actor, CONFIG), CONFIG)
    adapted, _ = gradient_step(agent, rule.init(agent.actor), samples, rule, CONFIG)
    change = adapted.actor(samples.obs)[0].log_prob(samples.action) - samples.log_prob
    assert float(jnp.mean(change * samples.advantage)) > 0
    jax.tree.map(np.testing.assert_array_equal, adapted.critic, agent.critic)


def test_each_task_adapts_by_its_own_episodes_and_rewards(agent):
    """Rewards see all tasks at once; what one task is paid does not move the agent of another."""
    agents = jax.tree.map(lambda x: jnp.stack([x, x]), worthless(agent))
    rule = initial_rule(jax.random.key(9), agent.actor, CONFIG)
    shapes = []

    def second_reversed(trajectory):
        shapes.append(trajectory.reward.shape)
        return trajectory.with_reward(trajectory.reward * jnp.array([1.0, -1.0])[:, None, None])

    def loop(reward):
        return play_and_adapt(jax.random.key(2), SAMPLER, TASKS, agents, rule, CONFIG, 1, reward)

    plain, paid = loop(None), loop(second_reversed)
    assert set(shapes) == {(2, 4, FAMILY.horizon)}
    weights = [x.agents.actor.network.weights[-1] for x in (plain, paid)]
    np.testing.assert_array_equal(weights[0][1, 0], weights[1][1, 0])
    moved = [w[1, 1] - w[0, 1] for w in weights]
    np.testing.assert_allclose(moved[0], -moved[1], atol=1e-5)
    # The outer reward was not touched: what came after is judged by the tasks' own.
    np.testing.assert_allclose(plain.query.advantage[0, 0], paid.query.advantage[0, 0], atol=1e-6)


def test_adapt_gives_agents_and_returns_of_every_step_and_goes_beyond_the_trained_ones(agent):
    rule = initial_rule(jax.random.key(9), agent.actor, CONFIG)
    agents, returns = adapt(jax.random.key(3), SAMPLER, TASKS[1], agent, rule, CONFIG, 3)
    assert returns.shape == (4, CONFIG.episodes)
    first = jax.tree.map(lambda x: x[0], agents)
    jax.tree.map(np.testing.assert_array_equal, first, agent)
    log_std = agents.actor.log_std
    assert len({tuple(row) for row in np.asarray(log_std).tolist()}) == 4


def test_a_reward_of_nothing_teaches_nothing(agent):
    """Adapting reads the reward it is given, and never the task's own."""
    rule = initial_rule(jax.random.key(9), agent.actor, replace(CONFIG, learn_offset=True))
    agents, _ = adapt(
        jax.random.key(3), SAMPLER, TASKS[1], worthless(agent), rule, CONFIG, 2, no_reward
    )  # fmt: skip
    for leaf in jax.tree.leaves(agents):
        np.testing.assert_array_equal(leaf[0], leaf[-1])


def no_reward(trajectory):
    return trajectory.with_reward(jnp.zeros_like(trajectory.reward))


def test_what_is_paid_is_discounted_and_ends_with_the_episode(agent, trajectory):
    samples = judge(agent, trajectory, 0.9, 1.0, False, RIDGE)
    discount = 0.9 ** np.arange(trajectory.reward.shape[-1])
    np.testing.assert_allclose(
        samples.paid, samples.weight * trajectory.reward * discount, atol=1e-5
    )
