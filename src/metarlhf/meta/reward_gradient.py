"""Meta-training of a reward that gradient steps adapt: MAML with learned step sizes.

Inner loop: `GradientReward.adapt` on a few answers of one task. Outer loop: how well the adapted
reward explains other answers of the same task, differentiated through the inner steps to the
initialisation and to the step sizes (Finn et al. 2017, equation 1; Li et al. 2017). Members see the
same answers from starts of their own.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import optimise
from metarlhf.devices import spread
from metarlhf.envs.base import TaskFamily
from metarlhf.feedback import Library
from metarlhf.feedback.config import Teacher
from metarlhf.feedback.teachers import Scale
from metarlhf.meta.config import GradientRewardConfig
from metarlhf.meta.tasks import count_of, draw_pairs, random_pairs
from metarlhf.reward.ensemble import RewardModel
from metarlhf.reward.gradient import GradientReward, LogStepSizes, descend
from metarlhf.reward.likelihood import answer_log_likelihood
from metarlhf.types import Comparison, Feedback, Rating, Segment, Task


def create(key: PRNGKeyArray, family: TaskFamily, config: GradientRewardConfig) -> GradientReward:
    """Random networks of the shapes that `config` says."""
    return GradientReward.create(
        key,
        family,
        members=config.members,
        hidden=config.hidden,
        steps=config.inner_steps,
        step_size=config.step_size,
    )


class GradientRewardState(eqx.Module):
    """All there is to know to go on meta-training."""

    reward: GradientReward
    optimiser: optax.OptState


def optimiser(config: GradientRewardConfig, steps: int) -> optax.GradientTransformation:
    """Adam, its step size falling to nothing over the budget."""
    schedule = optax.cosine_decay_schedule(config.lr, steps, 0.02)
    return optax.chain(optax.clip_by_global_norm(10.0), optax.adam(schedule))


def init(
    key: PRNGKeyArray, family: TaskFamily, config: GradientRewardConfig, steps: int
) -> GradientRewardState:
    """Random networks; `steps` of training are to come."""
    reward = create(key, family, config)
    learned = (reward.initial, reward.log_step_sizes)
    return GradientRewardState(reward, optimise.begin(optimiser(config, steps), learned))


def member_loss(
    model: RewardModel,
    log_step_sizes: LogStepSizes,
    key: PRNGKeyArray,
    clips: Segment,
    true_reward: Float[Array, "clip length"],
    teacher: Teacher,
    config: GradientRewardConfig,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """One network, one task: adapt on some answers, and be judged by others."""
    support_key, count_key, answer_key, query_key, judge_key = jax.random.split(key, 5)
    scale, num_clips = Scale.of(true_reward), true_reward.shape[0]
    left, right = random_pairs(support_key, (config.support,), num_clips)
    preference, weight = teacher.compare(answer_key, true_reward[left], true_reward[right], scale)
    count = jax.random.randint(count_key, (), 1, config.support + 1)
    weight = weight * (jnp.arange(config.support) < count)
    nothing = jnp.zeros(0)
    feedback = Feedback(
        Comparison(clips[left], clips[right], preference, weight),
        Rating(clips[:0], nothing, nothing, nothing),
    )
    adapted = descend(model, log_step_sizes, feedback)

    predicted = adapted.clip_sums(clips)
    pairs = draw_pairs(query_key, jax.lax.stop_gradient(predicted)[None], config.query)
    left, right = pairs.left[0], pairs.right[0]
    preference, weight = teacher.compare(judge_key, true_reward[left], true_reward[right], scale)

    def judged(model, sums):
        logit = jnp.exp(model.log_sharpness) * (sums[right] - sums[left])
        return logit, (logit > 0) == (preference > 0.5)

    logit, agrees = judged(adapted, predicted)
    _, agreed = judged(model, model.clip_sums(clips))
    loss = -jnp.mean(answer_log_likelihood(logit, preference) * weight)
    return loss, {
        "query_loss": loss,
        "accuracy_before": jnp.mean(agreed),
        "accuracy_after": jnp.mean(agrees),
        "accuracy_hard": jnp.sum(agrees * pairs.hard) / pairs.hard.sum(),
    }


def train_step(
    state: GradientRewardState,
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    clips: Library,
    teacher: Teacher,
    config: GradientRewardConfig,
    steps: int,
) -> tuple[GradientRewardState, dict[str, Float[Array, ""]]]:
    """One meta-gradient step on a random batch of `tasks` and the given pool of clips."""
    task_key, loss_key = jax.random.split(key)
    num_tasks = count_of(tasks)
    index = jax.random.randint(task_key, (config.batch_tasks,), 0, num_tasks)
    batch = spread(jax.tree.map(lambda x: x[index], tasks))
    true_reward = jax.vmap(lambda task: clips.seen_under(family, task).task_reward)(batch)
    keys = spread(jax.random.split(loss_key, config.batch_tasks))

    def loss(learned):
        one = lambda model, sizes, key, true_reward: member_loss(
            model, sizes, key, clips.clips, true_reward, teacher, config
        )
        over_members = jax.vmap(one, (0, 0, None, None))
        initial, sizes = learned
        over_tasks = jax.vmap(over_members, (None, None, 0, 0))
        losses, metrics = over_tasks(initial, sizes, keys, true_reward)
        # Members share nothing: the sum gives each its own gradient.
        return losses.mean(0).sum(), jax.tree.map(jnp.mean, metrics)

    learned = (state.reward.initial, state.reward.log_step_sizes)
    gradient, metrics = jax.grad(loss, has_aux=True)(learned)
    (initial, sizes), optimiser_state = optimise.step(
        optimiser(config, steps), gradient, state.optimiser, learned
    )
    reward = GradientReward(initial, sizes, initial)
    return GradientRewardState(reward, optimiser_state), metrics
