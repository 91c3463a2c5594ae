"""Meta-training of the latent reward: each task's variable comes to say what that task pays."""

import jax
import jax.numpy as jnp

from metarlhf import envs
from metarlhf.feedback import Teacher
from metarlhf.meta.joint_config import LatentRewardConfig
from metarlhf.meta.reward_latent import init, train_step
from tests.walks import walks

FAMILY, KEY, STEPS = envs.make("navigation"), jax.random.key(0), 300
CONFIG = LatentRewardConfig(
    num_tasks=16, batch_tasks=8, latent_size=3, num_features=16, hidden=(32,), comparisons=32
)
TASKS = jax.vmap(FAMILY.sample)(jax.random.split(KEY, CONFIG.num_tasks))


def meta_trained():
    """What answers about walks make of random networks and of variables that say nothing."""
    clips = walks(jax.random.key(1), FAMILY, 128)

    @jax.jit
    def train():
        step = lambda state, key: train_step(
            state, key, FAMILY, TASKS, clips, Teacher(), CONFIG, STEPS
        )
        keys = jax.random.split(jax.random.key(2), STEPS)
        return jax.lax.scan(step, init(KEY, FAMILY, CONFIG, STEPS), keys)[0]

    return train()


def accuracy(model, bank):
    """Share of pairs of walks never seen that the rows of `bank` rank as the tasks do."""
    clips = walks(jax.random.key(7), FAMILY, 200)
    true = jax.vmap(lambda task: clips.seen_under(FAMILY, task).task_reward.sum(-1))(TASKS)
    predicted = model.decoder(bank) @ model.phi_of(clips.clips).T
    likes_first = lambda sums: sums[:, :100] > sums[:, 100:]
    return float(jnp.mean(likes_first(predicted) == likes_first(true)))


def test_a_tasks_variable_is_learned_from_answers_about_that_very_task():
    """Of walks never seen it judges as its own task does, and not as another."""
    trained = meta_trained()
    own = accuracy(trained.model, trained.bank)
    others = accuracy(trained.model, jnp.roll(trained.bank, -1, axis=0))
    assert own > 0.92
    assert own > others + 0.15
