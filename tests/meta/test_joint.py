"""Joint meta-training: its state is the whole truth, and what is in the pool belongs together."""

from dataclasses import replace
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.meta import joint
from metarlhf.runs.checkpoint import Checkpoints
from tests.meta.tiny import CONFIG, LEARNING
from tests.paid import Paid
from tests.same import assert_same, differ, plain


def test_n_and_m_iterations_saved_in_between_are_n_plus_m_bit_for_bit(states, tmp_path):
    Checkpoints(tmp_path).save(1, states[1])
    # Restored into the structure of another seed's beginning: nothing is left of that.
    other = jax.jit(joint.init, static_argnums=(1, 2))(jax.random.key(9), LEARNING, CONFIG)
    restored = Checkpoints(tmp_path).restore(other)
    assert restored is not None
    done, state = restored
    assert done == 1
    assert_same(state, states[1])
    compiled = joint.iterate._cache_size()
    for expected in states[2:]:
        state, _ = joint.iterate(state, LEARNING, CONFIG)
        assert_same(state, expected)
    # Going on does not wait for another compilation.
    assert joint.iterate._cache_size() == compiled


def test_every_iteration_moves_reward_tasks_policy_and_pool(states):
    parts = [
        lambda s: s.reward.model, lambda s: s.reward.bank, lambda s: s.agent.actor.network,
        lambda s: s.agent.critic, lambda s: s.pool, lambda s: s.key,
    ]  # fmt: skip
    for before, after in pairwise(states):
        assert all(differ(part(before), part(after)) for part in parts)
        assert_same(before.tasks, after.tasks)
    assert [int(state.iteration) for state in states] == [0, 1, 2, 3]


def test_new_clips_replace_just_so_many(states):
    before, after = (np.asarray(state.pool.clips.obs) for state in states[1:3])
    assert (before != after).any(axis=(1, 2)).sum() == CONFIG.pool_new


def test_every_clip_of_the_pool_is_with_what_followed_and_what_its_own_task_paid(states):
    """Which task that was is not kept: one of the training tasks."""
    pool, tasks = states[-1].pool, states[-1].tasks
    paid = jax.jit(jax.vmap(lambda task: pool.seen_under(LEARNING, task).task_reward))(tasks)
    error = jnp.abs(paid - pool.clips.task_reward).max(-1)
    np.testing.assert_allclose(error.min(0), 0.0, atol=1e-5)
    np.testing.assert_array_equal(pool.clips.obs[:, 1:], pool.next_obs[:, :-1])


def test_true_rewards_are_seen_by_the_teacher_alone(states):
    """Where the teacher says the same of other true rewards, the same is learned."""
    begin, family = states[1], Paid()

    def after(wage):
        tasks = jnp.full_like(begin.tasks, wage)
        state = eqx.tree_at(lambda s: s.tasks, begin, tasks)
        return joint.iterate(state, family, CONFIG)[0]

    one, other = after(-2.0), after(-7.0)
    assert differ(one.pool.clips.task_reward, other.pool.clips.task_reward)
    assert_same(one.reward, other.reward)
    assert_same((one.agent, one.optimiser), (other.agent, other.optimiser))
    assert differ(begin.agent.actor, one.agent.actor)


def test_what_a_policy_is_told_is_guessed_from_tasks_that_are_not_played():
    """As it will be in a new task, whose own variable is not among those that it may be.

    There are as many hypotheses as tasks that are not played, and answers say nothing of them; so
    they are told their mean. The policy does what it is told, and what it is paid is its task.
    """
    config = replace(
        CONFIG, tasks=2, told_all=0.0, inner_particles=4, pool=32, pool_new=32,
        reward=replace(CONFIG.reward, num_tasks=6, batch_tasks=6, latent_size=2),
        ppo=replace(CONFIG.ppo, hidden=()),
    )  # fmt: skip
    family = Paid()
    begin = joint.init(jax.random.key(0), family, config)
    tasks = jnp.stack([jnp.arange(6.0), jnp.zeros(6)], axis=1)
    bank = jax.random.normal(jax.random.key(1), (6, 2))
    decoder = jax.tree.map(jnp.zeros_like, begin.reward.model.decoder)
    obey, log_std = (jnp.eye(4, 2, k=-2),), jnp.full(2, -30.0)
    begin = eqx.tree_at(
        lambda s: (
            s.tasks, s.reward.bank, s.reward.model.decoder,
            s.agent.actor.network.weights, s.agent.actor.log_std,
        ),
        begin,
        (tasks, bank, decoder, obey, log_std),
    )  # fmt: skip
    clips = joint.iterate(begin, family, config)[0].pool.clips
    played = np.unique(clips.task_reward).astype(int)
    assert played.size == 2
    told = np.delete(bank, played, axis=0).mean(0)
    np.testing.assert_allclose(clips.action, np.broadcast_to(told, clips.action.shape), rtol=1e-5)


def test_when_it_is_done_it_is_done_and_until_then_it_says_how_far_it_is(states):
    assert list(joint.meta_train(states[-1], LEARNING, CONFIG)) == []
    rest = list(joint.meta_train(states[1], LEARNING, CONFIG))
    assert [metrics["iteration"] for _, metrics in rest] == [2, 3]
    assert all(np.isfinite(value) for _, metrics in rest for value in metrics.values())
    assert -150 < rest[-1][1]["return"] < 0
    assert_same(rest[-1][0], states[-1])


def test_the_prior_holds_what_was_learned_and_its_clips_are_of_the_pool(states, prior):
    last = states[-1]
    assert_same(prior.agent, last.agent)
    assert_same(prior.belief.model, last.reward.model)
    np.testing.assert_array_equal(prior.belief.particles, last.reward.bank)
    np.testing.assert_allclose(prior.belief.weight, 1 / CONFIG.reward.num_tasks, rtol=1e-5)
    assert len(prior.library) == CONFIG.library
    assert_same(prior.library, last.pool[jnp.arange(CONFIG.library)])
    assert prior.family.name == LEARNING.name


def test_another_seed_is_another_training(states):
    other = jax.jit(joint.init, static_argnums=(1, 2))(jax.random.key(9), LEARNING, CONFIG)
    assert differ(other.tasks, states[0].tasks)
    assert differ(other.agent, states[0].agent)
    assert not np.array_equal(plain(other.key), plain(states[0].key))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, but is 0"),
        ({"pool_new": 129}, "pool_new must be 1 to 128, but is 129"),
        ({"library": 0}, "library must be 1 to 128, but is 0"),
        ({"tasks": 33}, "tasks must be 1 to 31, but is 33"),
        ({"ppo": replace(CONFIG.ppo, squash=True)}, "knows ppo.squash = False alone, but it is Tr"),
        ({"inner_particles": 33}, "inner_particles must be 1 to 28, but is 33"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)
