"""Rollouts: what is recorded, where episodes restart, and whose returns are counted."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf import envs
from metarlhf.networks import build_agent
from metarlhf.sampling import episode_return
from metarlhf.sampling.compiled import collect, evaluate, reset
from metarlhf.types import Trajectory
from tests.countdown import Countdown

FAMILY, TASK = Countdown(horizon=5), jnp.array(100)
AGENT = build_agent(jax.random.key(0), FAMILY, (4,))


@partial(jax.jit, static_argnames=("deterministic",))
def play(task, deterministic=False):
    start = reset(jax.random.key(1), FAMILY, task, AGENT.actor, 3)
    return collect(jax.random.key(2), FAMILY, task, AGENT.actor, start, 12, deterministic)


def rollout(terminates_after, deterministic=False):
    return play(jnp.array(terminates_after), deterministic)


def test_episodes_restart_and_the_final_observation_is_kept():
    end, trajectory = rollout(terminates_after=4)
    steps = np.arange(12)
    for env in range(3):
        np.testing.assert_array_equal(trajectory.obs[env, :, 0], steps % 4)
        # Not the observation of the reset, which is 0.
        np.testing.assert_array_equal(trajectory.next_obs[env, :, 0], steps % 4 + 1)
        np.testing.assert_array_equal(trajectory.terminated[env], steps % 4 == 3)
    assert not trajectory.truncated.any()
    np.testing.assert_array_equal(end.obs, np.zeros((3, 1)))
    np.testing.assert_array_equal(end.env.time, np.zeros(3))


def test_a_time_limit_truncates():
    _, trajectory = rollout(terminates_after=100)
    np.testing.assert_array_equal(trajectory.truncated[0], np.arange(12) % 5 == 4)
    assert not trajectory.terminated.any()


def test_an_episode_that_ends_by_itself_at_the_time_limit_is_not_truncated():
    _, trajectory = rollout(terminates_after=5)
    assert trajectory.terminated[0, 4]
    assert not trajectory.truncated.any()


def test_what_is_recorded_is_what_the_policy_says():
    _, trajectory = rollout(terminates_after=4)
    distribution, _ = AGENT.actor(trajectory.obs)
    np.testing.assert_allclose(
        trajectory.log_prob, distribution.log_prob(trajectory.action), rtol=1e-4, atol=1e-5
    )
    assert len(np.unique(trajectory.action)) == trajectory.action.size
    np.testing.assert_array_equal(trajectory.reward, trajectory.obs[..., 0])
    np.testing.assert_array_equal(trajectory.reward, trajectory.task_reward)


def test_a_rollout_goes_on_where_the_last_one_stopped():
    end, first = rollout(terminates_after=100)
    again = jax.jit(lambda end: collect(jax.random.key(3), FAMILY, TASK, AGENT.actor, end, 12))
    _, second = again(end)
    seen = jnp.concatenate([first.obs, second.obs], axis=1)[..., 0]
    np.testing.assert_array_equal(seen, np.tile(np.arange(24) % 5, (3, 1)))


def test_a_deterministic_policy_does_what_is_likeliest():
    _, trajectory = rollout(terminates_after=9, deterministic=True)
    np.testing.assert_allclose(
        trajectory.action, AGENT.actor(trajectory.obs)[0].mode(), rtol=1e-5, atol=1e-7
    )


def test_rewards_anew_leave_what_the_task_paid():
    _, trajectory = rollout(terminates_after=4)
    paid = trajectory.with_reward(jnp.full((3, 12), 7.0))
    assert isinstance(paid, Trajectory)
    np.testing.assert_array_equal(paid.reward, 7.0)
    np.testing.assert_array_equal(paid.task_reward, trajectory.task_reward)


def test_returns_count_the_first_episode_and_its_last_step():
    def total(done_at, length=6):
        reward = jnp.arange(1.0, length + 1)[None]
        done = jnp.zeros((1, length), bool).at[0, jnp.array(done_at, int)].set(True)
        flat = jnp.zeros((1, length, 1))
        built = Trajectory(flat, flat, reward, flat, 0 * reward, reward, done, done)
        return float(episode_return(built)[0])

    assert total([]) == 21
    assert total([5]) == 21
    assert total([0]) == 1
    assert total([2]) == total([2, 4]) == 6


def test_evaluation_plays_whole_episodes_of_the_true_reward():
    whole = jax.jit(lambda key, task: evaluate(key, FAMILY, task, AGENT.actor, 7))
    returns = whole(jax.random.key(3), jnp.array(4))
    np.testing.assert_array_equal(returns, np.full(7, 0 + 1 + 2 + 3))
    assert returns.shape == (7,)


def test_a_batch_of_tasks_gives_what_each_gives_alone():
    family = envs.make("navigation")
    agent = build_agent(jax.random.key(0), family, (4,))
    tasks = jnp.array([[0.1, 0.2], [-0.4, 0.3]])
    keys = jax.random.split(jax.random.key(5), 2)
    alone = lambda key, task: evaluate(key, family, task, agent.actor, 2, deterministic=False)
    together, one = jax.jit(jax.vmap(alone)), jax.jit(alone)
    expected = [one(key, task) for key, task in zip(keys, tasks, strict=True)]
    np.testing.assert_allclose(together(keys, tasks), expected, rtol=1e-4)
