"""Meta-training of a reward with a latent task variable.

Every training task has its own task variable, learned together with what all tasks share (an
*auto-decoder*: no encoder to be blurred by). The teacher answers for all tasks about one shared
pool of clips, so that features are computed once for hundreds of tasks. The learned task variables
are then the prior: what a new task is compared with.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf import optimise
from metarlhf.envs.base import TaskFamily
from metarlhf.feedback import Library
from metarlhf.feedback.config import Teacher
from metarlhf.feedback.teachers import Scale
from metarlhf.meta.joint_config import LatentRewardConfig
from metarlhf.meta.tasks import draw_pairs, pick
from metarlhf.reward.latent import LatentReward
from metarlhf.reward.likelihood import answer_log_likelihood, rating_log_likelihood
from metarlhf.types import Segment, Task


class LatentRewardState(eqx.Module):
    """All there is to know to go on meta-training the reward."""

    model: LatentReward
    bank: Float[Array, "task latent"]
    optimiser: optax.OptState


def optimiser(config: LatentRewardConfig, steps: int) -> optax.GradientTransformation:
    """Adam with its own step size for what is shared and what is the tasks' own."""
    adam = lambda lr: optax.adam(optax.cosine_decay_schedule(lr, steps, 0.02))
    return optax.chain(
        optax.clip_by_global_norm(10.0),
        optax.multi_transform(
            {"shared": adam(config.lr), "task": adam(config.latent_lr)},
            lambda tree: (jax.tree.map(lambda _: "shared", tree[0]), "task"),
        ),
    )


def init(
    key: PRNGKeyArray, family: TaskFamily, config: LatentRewardConfig, steps: int
) -> LatentRewardState:
    """Random networks, and task variables near zero; `steps` is how long training will be."""
    model_key, bank_key = jax.random.split(key)
    model = LatentReward(
        family,
        key=model_key,
        latent_size=config.latent_size,
        num_features=config.num_features,
        hidden=config.hidden,
    )
    bank = 0.01 * jax.random.normal(bank_key, (config.num_tasks, config.latent_size))
    return LatentRewardState(model, bank, optimise.begin(optimiser(config, steps), (model, bank)))


def loss(
    shared: tuple[LatentReward, Float[Array, "bank latent"]],
    key: PRNGKeyArray,
    clips: Segment,
    true_reward: Float[Array, "task clip length"],
    index: Integer[Array, " task"],
    teacher: Teacher,
    bounds: tuple[float, float],
    config: LatentRewardConfig,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Negative log-likelihood of the answers of a batch of tasks about pairs from a pool."""
    model, bank = shared
    noise_key, pair_key, answer_key, rate_key = jax.random.split(key, 4)
    z = bank[index]
    z = z + config.latent_noise * jax.random.normal(noise_key, z.shape)
    predicted = model.decoder(z) @ model.phi_of(clips).T

    pairs = draw_pairs(pair_key, jax.lax.stop_gradient(predicted), config.comparisons)
    left, right = pairs.left, pairs.right
    scale = jax.vmap(Scale.of)(true_reward)
    preference, weight = jax.vmap(teacher.compare)(
        jax.random.split(answer_key, z.shape[0]),
        pick(true_reward, left),
        pick(true_reward, right),
        scale,
    )
    logit = jnp.exp(model.log_sharpness) * (pick(predicted, right) - pick(predicted, left))
    likelihood = answer_log_likelihood(logit, preference, config.lapse)
    comparison_loss = -jnp.mean(likelihood * weight)

    marks = teacher.rate(rate_key, true_reward, bounds)
    rating_loss = -jnp.mean(
        rating_log_likelihood(
            predicted / true_reward.shape[-1], marks, model.log_rating_std, teacher.levels
        )
    )
    agrees = (logit > 0) == (preference > 0.5)
    total = (
        comparison_loss
        + config.rating_weight * rating_loss
        + config.latent_decay * jnp.mean(jnp.sum(z**2, -1))
    )
    return total, {
        "comparison_loss": comparison_loss,
        "rating_std": jnp.exp(model.log_rating_std),
        "sharpness": jnp.exp(model.log_sharpness),
        "accuracy": jnp.mean(agrees),
        "accuracy_hard": jnp.sum(agrees * pairs.hard) / (pairs.hard.sum() * z.shape[0]),
    }


def train_step(
    state: LatentRewardState,
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    clips: Library,
    teacher: Teacher,
    config: LatentRewardConfig,
    steps: int,
) -> tuple[LatentRewardState, dict[str, Float[Array, ""]]]:
    """One gradient step on a random batch of training tasks and the given pool of clips."""
    task_key, loss_key = jax.random.split(key)
    index = jax.random.choice(task_key, config.num_tasks, (config.batch_tasks,), replace=False)
    batch = jax.tree.map(lambda x: x[index], tasks)
    true_reward = jax.vmap(lambda task: clips.seen_under(family, task).task_reward)(batch)
    shared = (state.model, state.bank)
    gradient, metrics = jax.grad(loss, has_aux=True)(
        shared, loss_key, clips.clips, true_reward, index, teacher, family.reward_bounds, config
    )
    (model, bank), optimiser_state = optimise.step(
        optimiser(config, steps), gradient, state.optimiser, shared
    )
    return LatentRewardState(model, bank, optimiser_state), metrics
