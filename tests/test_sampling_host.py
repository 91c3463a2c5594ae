"""Rollouts on the host: every step is a step of the task, whatever a simulator does at its end."""

from collections import OrderedDict
from functools import partial

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from metarlhf import envs
from metarlhf.envs.adapters.gymnasium import FromGymnasium
from metarlhf.envs.adapters.processes import AsyncEnvs, cores, num_workers
from metarlhf.errors import SimulatorError
from metarlhf.networks import build_agent
from metarlhf.networks.actor_critic import forget
from metarlhf.sampling.host import collect, evaluate, finished_returns, reset
from tests.envs.counting import Counting, worked_out

NUM_ENVS, STEPS, SEED = 3, 17, 4


def counting(mode=AutoresetMode.SAME_STEP, vector=SyncVectorEnv, count=NUM_ENVS):
    return FromGymnasium(vector([Counting] * count, autoreset_mode=mode), "counting")


AGENT = build_agent(jax.random.key(0), counting(), (4,))
RECURRENT = build_agent(jax.random.key(0), counting(), (4,), memory="gru", memory_size=3)


def rollout(env, agent=AGENT):
    start = reset(env, agent.actor, SEED)
    return with_returns(env, agent, start, STEPS)


def with_returns(env, agent, start, steps, key=1):
    end, trajectory = collect(jax.random.key(key), env, agent.actor, start, steps)
    return end, trajectory, finished_returns(start, trajectory)


@pytest.mark.parametrize(
    ("mode", "vector"),
    [
        (AutoresetMode.SAME_STEP, SyncVectorEnv),
        (AutoresetMode.NEXT_STEP, SyncVectorEnv),
        (AutoresetMode.DISABLED, SyncVectorEnv),
        (AutoresetMode.SAME_STEP, partial(AsyncVectorEnv, context="spawn")),
        (AutoresetMode.NEXT_STEP, partial(AsyncVectorEnv, context="spawn")),
    ],
    ids=["same-step", "next-step", "disabled", "same-step-async", "next-step-async"],
)
def test_all_that_is_recorded_is_as_worked_out_by_hand(mode, vector):
    env = counting(mode, vector)
    end, trajectory, _ = rollout(env)
    env.close()
    for i in range(NUM_ENVS):
        obs, next_obs, terminated, truncated = worked_out(SEED + i, STEPS + 1)
        np.testing.assert_array_equal(trajectory.obs[i, :, 0], obs[:STEPS])
        # Among them the final ones: never the 0 of a reset.
        np.testing.assert_array_equal(trajectory.next_obs[i, :, 0], next_obs[:STEPS])
        np.testing.assert_array_equal(trajectory.terminated[i], terminated[:STEPS])
        np.testing.assert_array_equal(trajectory.truncated[i], truncated[:STEPS])
        np.testing.assert_array_equal(trajectory.reward[i], obs[:STEPS])
        assert end.obs[i, 0] == obs[STEPS]
    np.testing.assert_array_equal(trajectory.task_reward, trajectory.reward)


def test_workers_give_what_their_environments_would_give_one_by_one():
    """Two workers of two: seeds, episodes that end within a worker, final observations, order."""
    workers, alone = AsyncEnvs(Counting, 4, "counting", None), counting(count=4)
    assert workers.workers == num_workers(4, cores())
    (end, found, returns), (same_end, expected, same) = rollout(workers), rollout(alone)
    workers.close()
    for name in ("obs", "next_obs", "reward", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(end.obs, same_end.obs)
    np.testing.assert_array_equal(returns, same)


class Pair(gymnasium.Env):
    """Says where it is and minus that, in a dictionary of another order than its space's."""

    observation_space = spaces.Dict(
        {"minus": spaces.Box(-9.0, 9.0, (1,)), "plus": spaces.Box(-9.0, 9.0, (1,))}
    )
    action_space = spaces.Discrete(2)

    def said(self):
        at = np.full(1, self.at, np.float32)
        return OrderedDict(plus=at, minus=-at)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.said(), {}

    def step(self, action):
        self.at += 1
        return self.said(), 0.0, False, self.at == 2, {}


def test_workers_know_final_observations_by_name():
    workers = AsyncEnvs(Pair, 1, "pair")
    workers.reset(0)
    workers.step(np.zeros(1, int))
    step = workers.step(np.zeros(1, int))
    workers.close()
    assert step.truncated.all()
    np.testing.assert_array_equal(step.next_obs["plus"], [[2.0]])
    np.testing.assert_array_equal(step.next_obs["minus"], [[-2.0]])
    np.testing.assert_array_equal(step.obs["plus"], [[0.0]])


@pytest.mark.parametrize(
    ("num_envs", "cores", "processes"),
    [(8, 2, 2), (8, 3, 2), (8, 16, 8), (5, 2, 5), (1, 4, 1), (6, 4, 3), (5, 1, 1)],
)
def test_workers_are_as_many_as_there_are_cores_where_that_divides(num_envs, cores, processes):
    assert num_workers(num_envs, cores) == processes


def test_a_simulator_that_resets_more_than_it_should_is_refused():
    """CartPole's own vector environment knows no `reset_mask`."""
    cartpole = gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="vector_entry_point")
    env = FromGymnasium(cartpole, "CartPole-v1")
    agent = build_agent(jax.random.key(0), env, (4,))
    start = reset(env, agent.actor, SEED)
    with pytest.raises(SimulatorError, match="reset episodes that had not ended"):
        collect(jax.random.key(1), env, agent.actor, start, 200)


def test_what_episodes_pay_is_counted_across_rollouts():
    env = counting()
    end, trajectory, returns = rollout(env)
    assert sorted({*returns.tolist()}) == [0 + 1 + 2, 0 + 1 + 2 + 3 + 4]
    assert len(returns) == np.asarray(trajectory.done).sum()
    _, second, more = with_returns(env, AGENT, end, STEPS, 2)
    paid = np.asarray(trajectory.reward).sum() + np.asarray(second.reward).sum()
    # The rest is of episodes that go on: 0 + 1 + ... up to the step before the one they stand at.
    stand_at = [worked_out(SEED + i, 2 * STEPS + 1)[0][-1] for i in range(NUM_ENVS)]
    assert returns.sum() + more.sum() + sum(n * (n - 1) / 2 for n in stand_at) == paid


def test_an_evaluation_counts_one_episode_of_each():
    returns = evaluate(jax.random.key(0), counting(), AGENT.actor)
    # Seeds follow one another, and so do the two kinds of episode.
    assert returns.tolist() in ([3.0, 10.0, 3.0], [10.0, 3.0, 10.0])


def test_log_probabilities_are_those_of_what_was_done():
    _, trajectory, _ = rollout(counting())
    distribution, _ = AGENT.actor(trajectory.obs)
    np.testing.assert_allclose(
        trajectory.log_prob, distribution.log_prob(trajectory.action), rtol=1e-4, atol=1e-5
    )
    assert len(np.unique(trajectory.action)) == trajectory.action.size


def test_a_memory_is_carried_along_and_ends_with_its_episode():
    actor, env = RECURRENT.actor, counting()
    end, first, _ = rollout(env, RECURRENT)
    assert not np.asarray(first.memory).any()
    _, second = collect(jax.random.key(2), env, actor, end, STEPS)
    np.testing.assert_array_equal(second.memory, end.policy)
    state = first.memory
    for t in range(STEPS):
        distribution, state = actor(first.obs[:, t], state)
        np.testing.assert_allclose(
            distribution.log_prob(first.action[:, t]), first.log_prob[:, t], rtol=1e-4, atol=1e-5
        )
        state = forget(first.done[:, t], actor.initial_state(), state)
    np.testing.assert_allclose(end.policy, state, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["CartPole-v1", "envpool:CartPole-v1"])
def test_each_step_follows_from_the_one_before(name):
    """By our own equations: so none is a reset, and no final observation is lost."""
    if name.startswith("envpool:"):
        pytest.importorskip("envpool")
    env, cartpole, half_length = envs.connect(name, 4), envs.make("cartpole"), jnp.array(0.5)
    agent = build_agent(jax.random.key(0), env, (4,))
    start = reset(env, agent.actor, SEED)
    _, trajectory, returns = with_returns(env, agent, start, 100)
    env.close()

    @jax.jit
    @jax.vmap
    @jax.vmap
    def follow(obs, action):
        _, state = cartpole.reset(jax.random.key(0), half_length)
        state = state._replace(obs=obs)
        step = cartpole.step(jax.random.key(0), state, action, half_length)
        return step.obs, step.terminated

    next_obs, terminated = follow(trajectory.obs, trajectory.action)
    np.testing.assert_allclose(trajectory.next_obs, next_obs, atol=1e-5)
    np.testing.assert_array_equal(trajectory.terminated, terminated)
    np.testing.assert_array_equal(trajectory.reward, np.ones((4, 100)))
    assert len(returns) > 8
