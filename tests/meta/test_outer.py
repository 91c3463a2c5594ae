"""The outer loop's loss, by hand for policies that are linear, and what it must not depend on."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import play_and_adapt
from metarlhf.meta.objective import meta_loss

FAMILY = envs.make("navigation").without_termination()
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
    tasks = jnp.array([[0.3, 0.1], [-0.2, 0.4]])
    return jax.jit(
        lambda: play_and_adapt(
            jax.random.key(1), FAMILY, tasks, agents, state.rule, CONFIG, CONFIG.inner_steps
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
    loss, _ = jax.jit(meta_loss, static_argnums=3)((agent, state.rule), alone, coefficients, config)
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

    def gradient(config):
        of = lambda learned: meta_loss(learned, loop, state.kl_coefficient, config)[0]
        return jax.tree.leaves(jax.grad(of)((state.agent, state.rule)))

    together = gradient(replace(CONFIG, tasks_at_once=3))
    assert max(float(jnp.abs(x).max()) for x in together if x.size) > 1e-3
    for one, other in zip(gradient(replace(CONFIG, tasks_at_once=at_once)), together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
