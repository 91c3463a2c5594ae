"""A meta-learned reward that gradient steps adapt: what meta-training is for is what it does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.feedback import Teacher
from metarlhf.meta.config import GradientRewardConfig
from metarlhf.meta.reward_gradient import init, member_loss, train_step
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.types import Comparison, Feedback, Rating
from tests.walks import walks

FAMILY, KEY, STEPS = envs.make("navigation"), jax.random.key(0), 300
CONFIG = GradientRewardConfig(
    members=2, hidden=(32,), inner_steps=3, batch_tasks=8, support=10, query=32, lr=5e-3
)


@pytest.fixture(scope="module")
def trained():
    """The states before and after, and the metrics of every step."""
    tasks = jax.vmap(FAMILY.sample)(jax.random.split(KEY, 64))
    clips = walks(jax.random.key(1), FAMILY, 128)

    @jax.jit
    def train():
        begin = init(KEY, FAMILY, CONFIG, STEPS)
        step = lambda state, key: train_step(
            state, key, FAMILY, tasks, clips, Teacher(), CONFIG, STEPS
        )
        return begin, *jax.lax.scan(step, begin, jax.random.split(jax.random.key(2), STEPS))

    return train()


def test_the_loss_of_the_adapted_reward_falls(trained):
    loss = np.asarray(trained[2]["query_loss"])
    assert loss[:5].mean() > 0.68  # no idea, which is log 2, or worse
    assert loss[-20:].mean() < 0.58  # half of the pairs look alike, and answers are few


def test_on_tasks_and_clips_never_seen_ten_answers_make_it_rank_better(trained):
    """More than what is common to all tasks, and than ten answers do without meta-training."""
    tasks, clips = held_out_tasks(FAMILY, 16, "validation"), walks(jax.random.key(7), FAMILY, 200)

    @partial(jax.jit, static_argnames="adapted")
    def accuracy(reward, adapted):
        def one(task):
            seen = clips.seen_under(FAMILY, task)
            true = seen.task_reward.sum(-1)
            left, right = seen[:10], seen[10:20]
            told = (true[10:20] > true[:10]).astype(float)
            nothing = Rating(seen[:0], *[jnp.zeros(0)] * 3)
            feedback = Feedback(Comparison(left, right, told, jnp.ones(10)), nothing)
            judge = reward.adapt(KEY, feedback) if adapted else reward
            held_out = seen[20:]
            sums = judge(held_out.obs, held_out.action).sum(-1)
            predicted, wanted = (x[:90] > x[90:] for x in (sums, true[20:]))
            return jnp.mean(predicted == wanted)

        return jax.vmap(one)(tasks).mean()

    fresh, learned = trained[0].reward, trained[1].reward
    found = {
        (name, adapted): float(accuracy(reward, adapted))
        for name, reward in (("fresh", fresh), ("learned", learned))
        for adapted in (False, True)
    }
    assert found["learned", True] > 0.8
    assert found["learned", True] > found["learned", False] + 0.04
    assert found["learned", True] > found["fresh", True] + 0.15


def test_step_sizes_are_learned_each_for_itself(trained):
    before, after = (trained[i].reward.log_step_sizes for i in (0, 1))
    for leaf in jax.tree.leaves(before):
        np.testing.assert_allclose(leaf, np.log(0.05), rtol=1e-5)
    # How far marks stray was never asked about, so its step size stays.
    asked = [after.network, after.log_sharpness]
    moved = np.concatenate([np.abs(x - np.log(0.05)).ravel() for x in jax.tree.leaves(asked)])
    # Nor does a comparison tell anything of the last bias: four of five tensors, member and step.
    assert moved.size == 2 * 3 * 5
    assert np.sum(moved > 1e-3) == 2 * 3 * 4
    assert np.unique(moved.round(5)).size > 20
    np.testing.assert_allclose(after.log_rating_std, np.log(0.05), rtol=1e-5)


def test_members_have_starts_of_their_own_and_learn_apart(trained):
    weights = trained[1].reward.initial.network.network.weights[0]
    assert float(jnp.abs(weights[0] - weights[1]).max()) > 0.01


def test_the_gradient_of_the_step_sizes_is_that_of_finite_differences():
    """Through three inner steps, of one network and one task."""
    with jax.enable_x64(True):
        reward = jax.jit(lambda: init(KEY, FAMILY, CONFIG, STEPS).reward)()
        first = lambda tree: jax.tree.map(lambda x: x[0], tree)
        model, sizes = first(reward.initial), first(reward.log_step_sizes)
        clips = walks(jax.random.key(1), FAMILY, 64)
        true = clips.seen_under(FAMILY, jnp.array([0.3, -0.2])).task_reward

        @jax.jit
        def loss(move):
            moved = jax.tree.map(lambda x: x + move, sizes)
            return member_loss(model, moved, KEY, clips.clips, true, Teacher(), CONFIG)[0]

        claimed = float(jax.jit(jax.grad(loss))(0.0))
        measured = float(loss(1e-5) - loss(-1e-5)) / 2e-5
        assert abs(claimed) > 1e-3
        np.testing.assert_allclose(claimed, measured, rtol=1e-4)
