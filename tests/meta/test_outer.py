"""The outer loop's loss, by hand for policies that are linear, and what it must not depend on."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarlhf import envs
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import gradient_step, play_and_adapt
from metarlhf.meta.objective import FEW, collected, meta_loss
from metarlhf.meta.tasks import mean_over_tasks
from metarlhf.meta.update_rules import update_rule
from metarlhf.ppo.update import clipped_surrogate
from metarlhf.sampling import CompiledTaskSampler

FAMILY = envs.make("navigation").without_termination()
SAMPLER = CompiledTaskSampler(FAMILY)
TASKS = jnp.array([[0.3, 0.1], [-0.2, 0.4]])
CONFIG = MetaRLConfig(
    inner_steps=2, meta_batch=2, episodes=3, hidden=(), inner_lr=0.3, learn_inner_lr="none",
    normalise_advantage=False, iterations=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def state():
    return outer.init(jax.random.key(0), FAMILY, CONFIG)


@pytest.fixture(scope="module")
def loop(state):
    agents = jax.tree.map(lambda x: jnp.stack([x, x]), state.agent)
    return jax.jit(
        lambda: play_and_adapt(
            jax.random.key(1), SAMPLER, TASKS, agents, state.rule, CONFIG, CONFIG.inner_steps
        )
    )()


def by_hand(agent, support, query, kl_coefficient, config):
    """ProMP's loss of one task, with the gradients of a linear Gaussian policy written out."""
    double = lambda x: np.asarray(x, float)
    weight, bias = double(agent.actor.network.weights[0]), double(agent.actor.network.biases[0])
    log_std = double(agent.actor.log_std)
    surrogates, penalty, errors = [], 0.0, []

    def standing(data):
        obs, std = double(data.obs), np.exp(log_std)
        z = (double(data.action) - obs @ weight - bias) / std
        log_prob = np.sum(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - log_std, -1)
        return obs, std, z, np.exp(log_prob - double(data.log_prob))

    for step in range(config.inner_steps):
        learned_from, judged_by = (
            jax.tree.map(lambda x: x[step], data) for data in (support, query)
        )
        obs, std, z, ratio = standing(learned_from)
        old_mean, old_log_std = double(learned_from.policy.mean), learned_from.policy.log_std
        old_std = np.exp(double(old_log_std))
        shift = (old_mean - obs @ weight - bias) / std
        kl = np.log(std / old_std) + 0.5 * ((old_std / std) ** 2 + shift**2 - 1)
        penalty += float(kl_coefficient[step]) * np.mean(double(learned_from.weight) * kl.sum(-1))

        credit = (ratio * double(learned_from.advantage))[..., None] / ratio.size
        weight = weight + config.inner_lr * np.einsum("eto,eta->oa", obs, credit * z / std)
        bias = bias + config.inner_lr * np.sum(credit * z / std, (0, 1))
        log_std = log_std + config.inner_lr * np.sum(credit * (z**2 - 1), (0, 1))

        obs, _, _, ratio = standing(judged_by)
        advantage = double(judged_by.advantage)
        held = np.clip(ratio, 1 - config.clip, 1 + config.clip)
        surrogates.append(-np.mean(np.minimum(ratio * advantage, held * advantage)))
        critic = agent.critic.network
        value = (obs @ double(critic.weights[0]) + double(critic.biases[0]))[..., 0]
        error = (value - double(judged_by.value_target)) ** 2
        errors.append(0.5 * np.mean(double(judged_by.weight) * error))
    judged = np.mean if config.judge_every_step else lambda each: each[-1]
    return judged(surrogates) + penalty + config.value_coefficient * judged(errors), penalty


@pytest.mark.parametrize("every_step", [False, True])
def test_the_loss_of_a_task_is_promps_by_hand(state, loop, every_step):
    """For a policy that has moved on since it collected: where it has not, it pays no penalty."""
    config = replace(CONFIG, judge_every_step=every_step, value_coefficient=0.01)
    agent = jax.tree.map(lambda x: x + 0.05, state.agent)
    support, query = (jax.tree.map(lambda x: x[:, 0], x) for x in (loop.support, loop.query))
    coefficients = jnp.array([20.0, 70.0])
    alone = jax.tree.map(lambda x: x[:, :1], loop)
    loss, _ = jax.jit(meta_loss, static_argnums=3)(
        (agent, state.rule), collected(alone, config), coefficients, config
    )
    expected, penalty = by_hand(agent, support, query, coefficients, config)
    assert penalty > 0.1 * abs(expected)
    np.testing.assert_allclose(loss, expected, rtol=1e-3)


def test_in_what_units_rewards_are_paid_does_not_matter(state, loop):
    """Penalties weigh as much beside advantages a hundred times as large."""
    config = replace(CONFIG, epochs=4, kl_coefficient=10.0, lr=0.05)
    state = outer.init(jax.random.key(0), FAMILY, config, agent=state.agent)
    query = loop.query
    larger = loop._replace(query=replace(query, advantage=100 * query.advantage))
    learn = jax.jit(lambda loop: outer.learn(state, loop, config))
    (one, metrics), (other, other_metrics) = learn(loop), learn(larger)
    assert float(metrics["kl"]) > 1e-3
    for name, value in metrics.items():
        np.testing.assert_allclose(other_metrics[name], value, rtol=0.01, atol=1e-5)
    for a, b in zip(jax.tree.leaves(one.agent), jax.tree.leaves(other.agent), strict=True):
        np.testing.assert_allclose(a, b, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("at_once", [1, 2, 100])  # of three; 2 leaves one over
def test_how_many_tasks_are_differentiated_at_once_does_not_matter(state, loop, at_once):
    third = lambda x: jnp.concatenate([x, x[:, :1]], axis=1)  # (step, task)
    parts = {name: jax.tree.map(third, getattr(loop, name)) for name in ("support", "query")}
    loop = loop._replace(**parts)

    def gradient(data):
        of = lambda learned: meta_loss(learned, data, state.kl_coefficient, CONFIG)[0]
        return jax.tree.leaves(jax.grad(of)((state.agent, state.rule)))

    data = collected(loop, CONFIG)
    together, parts = gradient(data), mean_over_tasks(gradient, data, at_once)
    assert max(float(jnp.abs(x).max()) for x in together if x.size) > 1e-3
    for one, other in zip(parts, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def plain_loss(learned, loop, kl_coefficient, config):
    """ProMP's loss by loops over tasks and steps, with a policy asked anew for all that it says."""
    (start, rule), losses = learned, []
    rule = update_rule(rule, config)
    for task in range(2):
        agent, rule_state = start, rule.init(start.actor)
        for step in range(config.inner_steps):
            support, query = (
                jax.tree.map(lambda x: x[step, task], x) for x in (loop.support, loop.query)
            )
            moved = support.policy.kl(agent.actor(support.obs)[0])
            agent, rule_state = gradient_step(agent, rule_state, support, rule, config)
            log_ratio = agent.actor(query.obs)[0].log_prob(query.action) - query.log_prob
            error = 0.5 * (agent.critic(query.obs) - query.value_target) ** 2
            losses += [
                kl_coefficient[step] * jnp.mean(support.weight * moved)
                + clipped_surrogate(log_ratio, query.advantage, config.clip) / config.inner_steps
                + config.value_coefficient * jnp.mean(query.weight * error) / config.inner_steps
            ]
    return sum(losses) / 2


@pytest.mark.parametrize("steps", [2, FEW + 1])
def test_the_meta_gradient_is_that_of_a_plain_loss(steps):
    """Where inner steps are kept, and where there are too many and each is computed again."""
    config = replace(
        CONFIG, inner_steps=steps, hidden=(5,), judge_every_step=True, learn_inner_lr="tensor"
    )
    state = outer.init(jax.random.key(0), FAMILY, config)
    agents = jax.tree.map(lambda x: jnp.stack([x, x]), state.agent)
    play = partial(play_and_adapt, jax.random.key(1), SAMPLER, TASKS, agents)
    loop = jax.jit(lambda: play(state.rule, config, steps))()
    coefficients = jnp.arange(1.0, steps + 1)
    moved = jax.tree.map(lambda x: x + 0.05, state.agent)
    of = lambda learned: meta_loss(learned, collected(loop, config), coefficients, config)[0]
    plain = lambda learned: plain_loss(learned, loop, coefficients, config)
    (loss, found), (expected_loss, expected) = (
        jax.jit(jax.value_and_grad(loss))((moved, state.rule)) for loss in (of, plain)
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    assert optax.tree.norm(expected[0].actor) > 0.1
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.abs(other).max()) if other.size else 0.0
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("method", ["promp", "reptile"])
def test_what_is_observed_sets_the_scale_of_the_next_collection(method):
    """The outer loop alone sees all tasks: no inner step moves it, and no optimiser."""
    config = replace(CONFIG, method=method, normalise_obs=True, hidden=(4,))
    state = outer.init(jax.random.key(0), FAMILY, config)
    agents = jax.tree.map(lambda x: jnp.stack([x, x]), state.agent)
    loop = play_and_adapt(
        jax.random.key(1), SAMPLER, TASKS, agents, state.rule, config, config.inner_steps
    )
    for agent in (loop.agents.actor.body.moments, loop.agents.critic.body.moments):
        np.testing.assert_array_equal(agent.mean_variance[..., 0, :], 0.0)
        np.testing.assert_array_equal(agent.mean_variance[..., 1, :], 1.0)
    after = outer.learn(state, loop, config)[0].agent
    seen = np.asarray(loop.played.obs).reshape(-1, 2)
    for body in (after.actor.body, after.critic.body):
        assert body.moments.count == len(seen)
        expected = np.stack([seen.mean(0), seen.var(0)])
        np.testing.assert_allclose(body.moments.mean_variance, expected, rtol=1e-4, atol=1e-6)
