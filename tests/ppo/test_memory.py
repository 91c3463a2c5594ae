"""Recurrent policies: what is remembered, from where, until when, and what that is good for."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import ppo
from metarlhf.networks.layers import Memory
from metarlhf.ppo.update import loss, make_batch
from metarlhf.sampling import CompiledSampler
from tests.recall import Recall

RECALL, TASK = Recall(), jnp.zeros(())
CONFIG = ppo.PPOConfig(
    total_steps=30_720, num_envs=32, num_steps=8, lr=1e-2, hidden=(16,), gamma=0.9, memory="gru",
    memory_size=16, evaluate_every=120, evaluation_episodes=64,
)  # fmt: skip


@pytest.fixture(scope="module", params=["gru", "lstm"])
def played(request):
    """Two rollouts, the second from where the first stopped in the middle of an episode."""
    config = replace(CONFIG, memory=request.param, num_envs=4, num_steps=6)
    state = ppo.init(jax.random.key(0), CompiledSampler(RECALL, TASK, config.num_envs), config)
    play = jax.jit(lambda s: ppo.play(s, CompiledSampler(RECALL, TASK, config.num_envs), config))
    after, first = play(state)
    _, second = play(after)
    return config, state.agent, first, second


def test_what_is_learned_from_is_what_was_done(played):
    """Played step by step and gone over as sequences, the policy says the same."""
    _, agent, first, second = played
    for trajectory in (first, second):
        policy = agent.actor.over(trajectory.obs, trajectory.memory, trajectory.done)
        found = policy.log_prob(trajectory.action)
        np.testing.assert_allclose(found, trajectory.log_prob, rtol=1e-4, atol=1e-5)
    assert all(np.asarray(x).any() for x in jax.tree.leaves(second.memory))
    blank = jax.tree.map(jnp.zeros_like, second.memory)
    forgetful = agent.actor.over(second.obs, blank, second.done).log_prob(second.action)
    assert not np.allclose(forgetful, second.log_prob, atol=1e-5)


def test_an_episode_ends_what_is_remembered(played):
    """After an end all environments know the same of what they see: nothing from before."""
    _, agent, first, _ = played
    done = np.asarray(first.done)
    assert done[:, 3].all()
    features, _ = agent.actor.body.over(first.obs, first.memory, first.done)
    afresh, _ = agent.actor.body(first.obs[:, 4], _wide(agent.actor.initial_state(), 4))
    np.testing.assert_allclose(features[:, 4], afresh, rtol=1e-5, atol=1e-6)


def _wide(state, count):
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state)


def test_values_of_what_followed_remember_what_led_there(played):
    """Within an episode the value of the next observation is the next value."""
    _, agent, first, _ = played
    memory = _wide(agent.critic.initial_state(), 4)
    value, after = agent.critic.over(first.obs, memory, first.done)
    following = agent.critic(first.next_obs, after)
    inner = ~np.asarray(first.done)[:, :-1]
    np.testing.assert_allclose(
        np.asarray(following)[:, :-1][inner], np.asarray(value)[:, 1:][inner], rtol=1e-4, atol=1e-5
    )


def test_before_any_update_every_ratio_is_one(played):
    config, agent, _, second = played
    memory = _wide(agent.critic.initial_state(), 4)
    for objective in ("clip", "kl"):
        chosen = replace(config, objective=objective)
        batch, _ = make_batch(agent, second, chosen, memory)
        _, metrics = loss(agent, batch, chosen, jnp.ones(()))
        assert abs(float(metrics["kl"])) < 1e-6
        assert float(metrics["clipped_fraction"]) == 0.0


def test_sequences_are_not_cut():
    with pytest.raises(ValueError, match="num_envs = 6 must be a multiple of minibatches = 4"):
        replace(CONFIG, num_envs=6)


@pytest.mark.parametrize("memory", ["gru", "lstm", None])
def test_memory_alone_solves_recall(memory):
    config = replace(CONFIG, memory=memory)
    state = ppo.init(jax.random.key(1), CompiledSampler(RECALL, TASK, config.num_envs), config)
    *_, (_, entry) = ppo.train(state, CompiledSampler(RECALL, TASK, config.num_envs), config)
    if memory:
        assert entry["return"] > 0.95
    else:
        assert entry["return"] < 0.5


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_no_two_matrices_of_a_cell_start_alike(kind):
    memory = Memory(kind, 6, 6, key=jax.random.key(0))
    cell = memory.cell
    assert not np.allclose(cell.weight_ih, cell.weight_hh, atol=0.1)
    np.testing.assert_allclose(cell.weight_hh[:6].T @ cell.weight_hh[:6], np.eye(6), atol=1e-3)
    assert not np.allclose(cell.weight_hh[:6], cell.weight_hh[6:12], atol=0.1)
