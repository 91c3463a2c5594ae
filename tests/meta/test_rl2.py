"""RL^2: what a trial is, and that memory of earlier episodes is what a task is learned by."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo
from metarlhf.contrib import rl2
from metarlhf.contrib.config import RL2Config
from metarlhf.contrib.rl2 import AnyTask, Trials
from metarlhf.envs import Box, Discrete, Step
from metarlhf.sampling.compiled import collect, play_episodes, reset

NAVIGATION = envs.make("navigation")


class Arms:
    """One of two arms pays, which is the task; an episode is one pull."""

    name, horizon = "arms", 1
    observation_space = Box(1, 0.0, 1.0, ("nothing",))
    action_space = Discrete(2, ("left", "right"))

    def sample(self, key):
        return jax.random.randint(key, (), 0, 2)

    def reset(self, key, task):
        return jnp.zeros(1), jnp.zeros(())

    def step(self, key, state, action, task):
        reward = jnp.where(action == task, 1.0, 0.0)
        return Step(jnp.zeros(1), state, reward, jnp.array(False), jnp.array(True))


ARMS = Arms()
CONFIG = RL2Config(
    episodes=4,
    ppo=ppo.PPOConfig(
        total_steps=40_960, num_envs=64, num_steps=8, lr=1e-2, hidden=(16,), gamma=0.9,
        memory="gru", memory_size=16, evaluate_every=100, evaluation_episodes=32,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def played():
    """Trials of navigation to a goal so near that some episodes end before their horizon."""
    trials = Trials(NAVIGATION, 3)
    agent = ppo.new_agent(jax.random.key(0), trials, replace(CONFIG.ppo, initial_std=0.3))
    task = jnp.array([0.05, 0.0])
    play = jax.jit(lambda key: play_episodes(key, trials, task, agent.actor, 20))
    return trials, agent, play(jax.random.key(1))


def test_a_trial_shows_what_was_done_paid_and_ended_before(played):
    _, _, trajectory = played
    first, later = trajectory.obs[:, 0], trajectory.obs[:, 1:]
    np.testing.assert_array_equal(first, 0.0)
    went_on = ~np.asarray(trajectory.done)[:, :-1] & ~beyond(trajectory)[:, 1:]
    before = np.clip(np.asarray(trajectory.action)[:, :-1], -1.0, 1.0)
    np.testing.assert_allclose(later[..., 2:4][went_on], before[went_on], atol=1e-5)
    np.testing.assert_allclose(
        later[..., 4][went_on], np.asarray(trajectory.reward)[:, :-1][went_on], rtol=1e-6
    )
    # A new episode begins at the start, and at no other time does the point leap.
    new = np.asarray(later[..., 5] == 1.0)
    assert (new & went_on).any()
    np.testing.assert_array_equal(later[..., :2][new & went_on], 0.0)
    way = np.abs(np.asarray(later[..., :2] - trajectory.obs[:, :-1, :2])).max(-1)
    assert way[went_on & ~new].max() <= 0.1 + 1e-6


def beyond(trajectory):
    done = np.asarray(trajectory.done)
    return np.cumsum(done, -1) - done > 0


def test_a_trial_ends_with_its_last_episode_alone(played):
    trials, _, trajectory = played
    for row in range(20):
        ends = np.flatnonzero(trajectory.done[row])
        new = np.flatnonzero(trajectory.next_obs[row, :, -1])
        if len(ends):
            # The third end of an episode, and a true end: nothing of the trial is left to come.
            assert list(new).index(ends[0]) == 2
            assert trajectory.terminated[row, ends[0]]
    lengths = [np.flatnonzero(row)[0] + 1 for row in np.asarray(trajectory.done) if row.any()]
    assert min(lengths) < trials.horizon  # some episode ended before its time


def test_memory_goes_through_the_episodes_of_a_trial(played):
    """Gone over as one sequence from an empty memory, the policy says what it said."""
    _, agent, trajectory = played
    said = agent.actor.over(trajectory.obs, trajectory.memory, trajectory.done)
    found = said.log_prob(trajectory.action)
    np.testing.assert_allclose(found, trajectory.log_prob, rtol=1e-3, atol=1e-3)
    forgetful = agent.actor.over(
        trajectory.obs, trajectory.memory, trajectory.done | (trajectory.next_obs[..., -1] > 0)
    )
    assert not np.allclose(forgetful.log_prob(trajectory.action), found, atol=1e-3)


def test_returns_are_those_of_each_episode_by_plain_loops(played):
    trials, _, trajectory = played
    found = trials.returns(trajectory.obs, trajectory.task_reward, trajectory.done)
    for row in range(20):
        expected, episode = np.zeros(3), 0
        for t in range(trials.horizon):
            expected[episode] += float(trajectory.task_reward[row, t])
            episode += int(trajectory.next_obs[row, t, -1])
            if trajectory.done[row, t]:
                break
        np.testing.assert_allclose(found[row], expected, rtol=1e-4)


def test_each_trial_has_a_task_of_its_own_until_it_ends():
    """Of arms, where what pays tells the task."""
    env = AnyTask(Trials(ARMS, 4))
    agent = ppo.new_agent(jax.random.key(0), env, CONFIG.ppo)
    nothing = jnp.zeros(())
    begin = reset(jax.random.key(1), env, nothing, agent.actor, 32)
    _, trajectory = collect(jax.random.key(2), env, nothing, agent.actor, begin, 8)
    pays = np.asarray(jnp.where(trajectory.reward > 0, trajectory.action, 1 - trajectory.action))
    for trial in (pays[:, :4], pays[:, 4:]):
        assert (trial == trial[:, :1]).all()
        assert 0 < trial[:, 0].mean() < 1
    assert (pays[:, 0] != pays[:, 4]).any()


def test_what_was_found_in_the_first_episode_is_done_in_the_others():
    state = rl2.init(jax.random.key(0), ARMS, CONFIG)
    *_, (state, _) = rl2.meta_train(state, ARMS, CONFIG)
    tasks = jnp.array([0, 1])
    returns = rl2.returns_by_episode(jax.random.key(3), ARMS, tasks, state.agent, CONFIG, 100)
    assert returns.shape == (2, 100, 4)
    first, *rest = np.asarray(returns.mean((0, 1)))
    assert 0.3 < first < 0.7
    assert min(rest) > 0.95


def test_what_cannot_remember_or_be_seen_is_refused():
    with pytest.raises(ValueError, match="choose memory gru or lstm"):
        replace(CONFIG, ppo=replace(CONFIG.ppo, memory=None))
    with pytest.raises(ValueError, match="episodes must be at least 1"):
        replace(CONFIG, episodes=0)
    with pytest.raises(ValueError, match="episodes must be at least 1"):
        Trials(ARMS, 0)

    class Many(Arms):
        action_space = envs.spaces.MultiBinary(2, ("a", "b"))

    with pytest.raises(ValueError, match=r"arms shows Box\(1\).* takes MultiBinary\(2\)"):
        Trials(Many(), 2)
