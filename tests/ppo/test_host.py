"""Training in a simulator on the host: it learns, and goes on from what was saved."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import tests.envs.counting
from metarlhf import envs, ppo
from metarlhf.sampling import HostSampler

assert tests.envs.counting
CONFIG = ppo.PPOConfig(
    total_steps=32 * 40, num_envs=4, num_steps=8, minibatches=4, hidden=(16,), lr=1e-2,
    evaluate_every=20, evaluation_episodes=3,
)  # fmt: skip


def test_a_guessing_game_is_learned():
    env, evaluation_env = envs.connect("Guess-v0", 4), envs.connect("Guess-v0", 3)
    sampler = HostSampler(env, evaluation_env)
    state = ppo.init(jax.random.key(0), sampler, CONFIG)
    rows = [row for _, row in ppo.train(state, sampler, CONFIG)]
    assert [row["steps"] for row in rows] == [32 * (i + 1) for i in range(40)]
    assert ["return" in row for row in rows] == [i in (19, 39) for i in range(40)]
    assert rows[-1]["return"] == 10.0
    assert rows[0]["episode_return"] is None
    assert 2 <= rows[1]["episode_return"] <= 8
    assert sum(row["episodes"] for row in rows) == 32 * 40 // 10


@pytest.mark.parametrize("memory", [None, "gru"])
def test_what_goes_on_keeps_what_was_learned_and_begins_new_episodes(memory):
    config = replace(CONFIG, memory=memory, memory_size=4, normalise_reward=True)
    sampler = HostSampler(envs.connect("tests.envs.counting:Counting-v0", 4))
    state = ppo.init(jax.random.key(0), sampler, config)
    state, _ = ppo.iterate(state, sampler, config)
    again = ppo.restart(state, sampler)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert not np.asarray(again.rollout.obs).any()
    for old_episodes in (again.rollout.env, again.reward_scale.returns):
        assert not np.asarray(old_episodes).any()
    for memories in jax.tree.leaves((again.rollout.policy, again.critic_memory)):
        assert not np.asarray(memories).any()
    for part in ("agent", "optimiser", "updates"):
        pairs = zip(*(jax.tree.leaves(getattr(s, part)) for s in (state, again)), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)
    assert again.reward_scale.moments.count == state.reward_scale.moments.count > 1
    ppo.iterate(again, sampler, config)


def test_the_same_key_gives_the_same_training():
    def weights():
        sampler = HostSampler(envs.connect("CartPole-v1", 4))
        state = ppo.init(jax.random.key(3), sampler, CONFIG)
        for _ in range(2):
            state, _ = ppo.iterate(state, sampler, CONFIG)
        return state.agent.actor.network.weights[0]

    np.testing.assert_array_equal(weights(), weights())
