"""The update against a loop written out by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarlhf import envs, ppo
from metarlhf.networks import Categorical
from metarlhf.ppo.train import optimiser
from metarlhf.ppo.update import loss, make_batch, shuffle, update
from metarlhf.sampling import CompiledSampler

FAMILY = envs.make("cartpole")
CONFIG = ppo.PPOConfig(
    num_envs=4, num_steps=8, epochs=2, minibatches=4, hidden=(8,), entropy_coefficient=0.03
)


@pytest.fixture(scope="module")
def played():
    """A state and what it collected, with rewards that differ from step to step."""
    state = ppo.init(
        jax.random.key(0), CompiledSampler(FAMILY, jnp.array(0.5), CONFIG.num_envs), CONFIG
    )
    state, trajectory = jax.jit(
        lambda s: ppo.play(s, CompiledSampler(FAMILY, jnp.array(0.5), CONFIG.num_envs), CONFIG)
    )(state)
    reward = jax.random.normal(jax.random.key(1), trajectory.reward.shape)
    return state, trajectory.with_reward(reward)


def plain_loss(agent, obs, action, log_prob, advantage, target, old_logits, config, coefficient):
    """Schulman et al. 2017, equations 7 to 9, in as few words as possible."""
    logits = agent.actor.network(obs)
    log_p = logits - jax.scipy.special.logsumexp(logits, axis=-1, keepdims=True)
    ratio = jnp.exp(log_p[jnp.arange(len(action)), action] - log_prob)
    advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-8)
    if config.objective == "clip":
        policy = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
    elif config.objective == "discovered":
        good, bad = (ratio - 1) * advantage, jnp.log(ratio) * advantage
        good, bad = good - 2 * jnp.tanh(good / 2), bad - 0.6 * jnp.tanh(bad / 0.6)
        policy = ratio * advantage - jax.nn.relu(jnp.where(advantage >= 0, good, bad))
    else:
        old = old_logits - jax.scipy.special.logsumexp(old_logits, axis=-1, keepdims=True)
        policy = ratio * advantage - coefficient * jnp.sum(jnp.exp(old) * (old - log_p), -1)
    value = 0.5 * (agent.critic(obs) - target) ** 2
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, -1)
    return -jnp.mean(policy - config.value_coefficient * value + 0.03 * entropy)


@pytest.mark.parametrize("objective", ["clip", "kl", "discovered"])
def test_an_update_is_a_loop_over_shuffled_minibatches(played, objective):
    state, trajectory = played
    config, coefficient = replace(CONFIG, objective=objective), jnp.array(0.7)
    batch, key, opt = (
        make_batch(state.agent, trajectory, config)[0],
        jax.random.key(9),
        optimiser(config),
    )
    agent, _, metrics = jax.jit(
        lambda: update(key, state.agent, opt.init(state.agent), opt, batch, config, coefficient)
    )()

    gradient = jax.jit(
        jax.grad(
            lambda agent, *rest: plain_loss(agent, *rest, config=config, coefficient=coefficient)
        )
    )
    expected, opt_state = state.agent, opt.init(state.agent)
    old_logits, steps = state.agent.actor.network(batch.obs), 0
    for epoch_key in jax.random.split(key, 2):
        order = shuffle(epoch_key, 32)
        for rows in np.asarray(order).reshape(4, 8):
            part = [
                x[rows]
                for x in (batch.obs, batch.action, batch.log_prob, batch.advantage,
                          batch.value_target, old_logits)
            ]  # fmt: skip
            updates, opt_state = opt.update(gradient(expected, *part), opt_state, expected)
            expected, steps = optax.apply_updates(expected, updates), steps + 1
    assert steps == 8
    moved = np.concatenate([np.ravel(x) for x in jax.tree.leaves(agent)])
    should = np.concatenate([np.ravel(x) for x in jax.tree.leaves(expected)])
    start = np.concatenate([np.ravel(x) for x in jax.tree.leaves(state.agent)])
    assert np.abs(should - start).max() > 1e-3
    np.testing.assert_allclose(moved, should, atol=2e-5)
    assert all(np.isfinite(float(x)) for x in metrics.values())


def test_the_first_gradient_step_sees_a_ratio_of_one(played):
    state, trajectory = played
    batch, _ = make_batch(state.agent, trajectory, CONFIG)
    _, metrics = loss(state.agent, batch, CONFIG, jnp.ones(()))
    np.testing.assert_allclose(metrics["kl"], 0.0, atol=1e-6)
    assert float(metrics["clipped_fraction"]) == 0.0
    np.testing.assert_allclose(metrics["policy_loss"], 0.0, atol=1e-5)
    expected = Categorical(state.agent.actor.network(batch.obs)).entropy().mean()
    np.testing.assert_allclose(metrics["entropy"], expected, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 31, 64, 1000, 70_000])
def test_shuffling_gives_each_number_once(count):
    order = np.asarray(shuffle(jax.random.key(0), count))
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_every_number_is_as_likely_in_every_minibatch():
    orders = np.asarray(
        jax.vmap(lambda key: shuffle(key, 12))(jax.random.split(jax.random.key(0), 6000))
    )
    first_third = np.stack([(orders[:, :4] == number).any(1) for number in range(12)], axis=1)
    np.testing.assert_allclose(first_third.mean(0), 1 / 3, atol=0.03)
    # Neighbours keep apart as often as others do: chance is 1/3 * 3/11.
    together = (first_third[:, :-1] & first_third[:, 1:]).mean(0)
    np.testing.assert_allclose(together, 1 / 11, atol=0.02)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"= 30 must be a multiple of minibatches = 4"):
        ppo.PPOConfig(num_envs=3, num_steps=10)
    with pytest.raises(ValueError, match="epochs must be at least 1, but is 0"):
        ppo.PPOConfig(epochs=0)
