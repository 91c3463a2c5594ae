"""Advantages against plain loops, and what the two kinds of episode end do to them."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metarlhf.networks import build_agent
from metarlhf.ppo import PPOConfig, gae
from metarlhf.ppo.update import make_batch
from metarlhf.types import Trajectory
from tests.countdown import Countdown

compiled = jax.jit(gae, static_argnames=("gamma", "gae_lambda"))


def plain_loop(reward, value, next_value, terminated, truncated, gamma, lam):
    """Schulman et al. 2016, equation 16, one environment at a time, from the end."""
    advantage = np.zeros(reward.shape)
    for env in range(reward.shape[0]):
        running = 0.0
        for t in reversed(range(reward.shape[1])):
            ended = terminated[env, t] or truncated[env, t]
            ahead = 0.0 if terminated[env, t] else next_value[env, t]
            delta = reward[env, t] + gamma * ahead - value[env, t]
            running = delta + (0.0 if ended else gamma * lam * running)
            advantage[env, t] = running
    return advantage


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from([(0.99, 0.95), (1.0, 1.0), (0.6, 0.0)]))
def test_gae_is_that_of_plain_loops(seed, discounts):
    gamma, lam = discounts
    rng = np.random.default_rng(seed)
    numbers = [rng.normal(size=(3, 11)).astype(np.float32) for _ in range(3)]
    terminated = rng.random((3, 11)) < 0.15
    truncated = ~terminated & (rng.random((3, 11)) < 0.15)
    result = compiled(
        *map(jnp.asarray, (*numbers, terminated, truncated)), gamma=gamma, gae_lambda=lam
    )
    expected = plain_loop(*numbers, terminated, truncated, gamma, lam)
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)


def test_lambda_zero_is_one_step_and_lambda_one_is_monte_carlo():
    reward, value = jnp.array([1.0, 2.0, 4.0]), jnp.array([10.0, 20.0, 30.0])
    next_value, no = jnp.array([20.0, 30.0, 40.0]), jnp.zeros(3, bool)
    one_step = compiled(reward, value, next_value, no, no, gamma=0.5, gae_lambda=0.0)
    np.testing.assert_allclose(one_step, [1 + 10 - 10, 2 + 15 - 20, 4 + 20 - 30])
    returns = np.array([1 + 0.5 * (2 + 0.5 * (4 + 0.5 * 40)), 2 + 0.5 * (4 + 20), 4 + 20])
    monte_carlo = compiled(reward, value, next_value, no, no, gamma=0.5, gae_lambda=1.0)
    np.testing.assert_allclose(monte_carlo, returns - value)


def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not():
    """The same steps, cut short by a time limit or over for good."""
    family = Countdown()
    agent = build_agent(jax.random.key(0), family, (4,))
    agent = jax.tree.map(lambda x: x + 0.3, agent)
    config = PPOConfig(num_envs=1, num_steps=3, minibatches=1, gamma=0.9, gae_lambda=0.8)
    steps, no = jnp.arange(3.0)[None, :, None], jnp.zeros((1, 3), bool)
    reward, end = jnp.ones((1, 3)), no.at[0, 1].set(True)

    def advantages(terminated, truncated):
        trajectory = Trajectory(
            steps, steps, reward, steps + 5, reward, reward, terminated, truncated
        )
        return make_batch(agent, trajectory, config)[0]

    over, cut = advantages(end, no), advantages(no, end)
    worth = float(agent.critic(steps + 5)[0, 1])
    assert abs(worth) > 0.1
    difference = cut.advantage - over.advantage
    np.testing.assert_allclose(
        difference, [0.9 * 0.8 * 0.9 * worth, 0.9 * worth, 0.0], rtol=1e-4, atol=1e-6
    )
    # What comes after the end is another episode, whichever end it was.
    assert over.advantage[2] == cut.advantage[2]
    np.testing.assert_allclose(cut.value_target, cut.advantage + agent.critic(steps)[0], rtol=1e-5)
