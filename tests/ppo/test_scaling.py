"""Running scales of rewards and observations, against plain NumPy."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarlhf import envs, ppo
from metarlhf.networks import Moments
from metarlhf.ppo.update import RewardScale, value_loss
from metarlhf.sampling import CompiledSampler
from tests.countdown import Countdown


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99))
def test_moments_are_those_of_all_that_was_seen(sizes, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(3.0, 2.0, size=(n, 2, 3)).astype(np.float32) for n in sizes]
    moments = Moments.of(jnp.zeros(3))
    for part in parts:
        moments = moments.update(jnp.asarray(part))
    whole = np.concatenate(parts).reshape(-1, 3)
    np.testing.assert_allclose(moments.mean_variance[0], whole.mean(0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(moments.mean_variance[1], whole.var(0), rtol=2e-3, atol=1e-3)


def test_images_pass_as_they_are_and_vectors_are_clipped():
    obs = {"image": jnp.full((2, 4, 4, 1), 200, jnp.uint8), "vector": jnp.array([[0.0], [1e9]])}
    moments = Moments.of({"image": jnp.zeros((4, 4, 1), jnp.uint8), "vector": jnp.zeros(1)})
    seen = moments.update(obs).normalise(obs)
    np.testing.assert_array_equal(seen["image"], obs["image"])
    far = moments.normalise(obs)
    assert float(far["vector"][1, 0]) == 10.0


def test_rewards_are_divided_by_the_spread_of_discounted_returns():
    family, task = Countdown(horizon=5), jnp.array(3)
    config = ppo.PPOConfig(num_envs=2, num_steps=7, minibatches=2, hidden=(4,))
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    _, trajectory = ppo.play(state, CompiledSampler(family, task, config.num_envs), config)
    paid, scale = RewardScale.start(2).apply(trajectory, gamma=0.5)
    # Episodes of three steps that pay 0, 1, 2; the eighth step would be the second of the third.
    returns = [0, 1, 2.5, 0, 1, 2.5, 0]
    expected = np.array([0, 1, 2, 0, 1, 2, 0]) / np.std(returns)
    np.testing.assert_allclose(paid.reward[1], expected, rtol=1e-3)
    np.testing.assert_array_equal(scale.returns, [0.0, 0.0])
    np.testing.assert_array_equal(paid.task_reward, trajectory.task_reward)


def test_values_held_near_the_old_ones_count_by_the_worse_error():
    value, target, old = jnp.array([1.0, 0.0]), jnp.array([2.0, 0.3]), jnp.array([0.0, 0.1])
    held = np.array([0.2, 0.0])
    worse = np.maximum((np.asarray(value) - target) ** 2, (held - target) ** 2)
    np.testing.assert_allclose(value_loss(value, target, old, 0.2), worse.mean() / 2, rtol=1e-5)
    np.testing.assert_allclose(
        value_loss(value, target), np.mean((np.asarray(value) - target) ** 2) / 2, rtol=1e-5
    )


def test_observations_are_normalised_by_what_was_seen_and_the_scale_is_not_trained():
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = ppo.PPOConfig(
        num_envs=4, num_steps=16, hidden=(8,), normalise_obs=True, normalise_reward=True
    )
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    state, trajectory = ppo.play(state, CompiledSampler(family, task, config.num_envs), config)
    learned, metrics = jax.jit(lambda s, t: ppo.learn(s, t, config))(state, trajectory)
    moments = learned.agent.actor.body.moments
    seen = np.asarray(trajectory.obs).reshape(-1, 4)
    np.testing.assert_allclose(moments.mean_variance[0], seen.mean(0), rtol=1e-2, atol=1e-5)
    np.testing.assert_allclose(moments.count, 64, rtol=1e-4)
    assert float(metrics["reward"]) == 1.0  # as the task paid


def test_an_update_stops_where_the_policy_has_moved_enough():
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = ppo.PPOConfig(num_envs=4, num_steps=16, hidden=(8,), lr=0.05, anneal_lr=False)
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    state, trajectory = ppo.play(state, CompiledSampler(family, task, config.num_envs), config)
    free, _ = ppo.learn(state, trajectory, config)
    stopped = replace(config, kl_stop=1e-3)
    held, near = ppo.learn(state, trajectory, stopped)
    assert 0.0 < float(near["share_of_steps"]) < 1.0
    weights = lambda s: np.asarray(s.agent.actor.network.weights[0])
    moved = lambda s: np.abs(weights(s) - weights(state)).sum()
    assert 0 < moved(held) < moved(free)


def test_annealing_follows_the_budget_also_where_updates_stop_early():
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = ppo.PPOConfig(num_envs=4, num_steps=16, hidden=(8,), lr=0.05, kl_stop=1e-3)
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    state, trajectory = ppo.play(state, CompiledSampler(family, task, config.num_envs), config)
    state, metrics = ppo.learn(state, trajectory, config)
    assert float(metrics["share_of_steps"]) < 1.0
    counts = dict(optax.tree_utils.tree_get_all_with_path(state.optimiser, "count"))
    assert max(int(count) for count in counts.values()) == config.epochs * config.minibatches
    assert min(int(count) for count in counts.values()) < config.epochs * config.minibatches


@pytest.mark.parametrize("adapts", [True, False])
def test_the_penalty_is_fixed_or_adapts(adapts):
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = ppo.PPOConfig(
        objective="kl", num_envs=4, num_steps=16, hidden=(8,), kl_coefficient=3.0,
        adapt_kl_coefficient=adapts, kl_target=10.0,
    )  # fmt: skip
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    after, _ = ppo.iterate_many(state, CompiledSampler(family, task, config.num_envs), config, 2)
    np.testing.assert_allclose(after.kl_coefficient, 0.75 if adapts else 3.0)
