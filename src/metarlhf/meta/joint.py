"""Meta-training of reward and policy together, with a teacher's answers on training tasks.

An iteration: the policy plays a batch of training tasks; its clips go to a pool; the teacher answers
about clips of the pool for many tasks and the latent reward learns; the policy learns on the reward that
is believed of each task. So reward and policy see ever better behaviour from each other.
"""

from dataclasses import dataclass, field

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.ppo import PPOConfig
from metarlhf.envs.base import TaskFamily
from metarlhf.feedback import Teacher, cut
from metarlhf.meta import conditioned, reward_latent
from metarlhf.meta.reward_latent import LatentRewardConfig, LatentRewardState
from metarlhf.networks import Agent, build_agent
from metarlhf.rollout import episode_return
from metarlhf.types import Segment, Task, Trajectory


@dataclass(frozen=True)
class JointConfig:
    """Meta-training over a family of tasks."""

    iterations: int = 60
    """Policy updates; the reward takes `reward_steps` gradient steps for each."""
    reward_steps: int = 20
    """Gradient steps of the reward in an iteration."""
    tasks: int = 64
    """Training tasks played in an iteration."""
    episodes: int = 4
    """Episodes of each."""
    pool: int = 8192
    """Clips that questions are drawn from; new ones replace random old ones."""
    pool_new: int = 512
    """New clips in an iteration."""
    clips: int = 512
    """Clips of the pool that one gradient step of the reward asks about."""
    reward: LatentRewardConfig = field(default_factory=LatentRewardConfig)
    """The reward's meta-training."""
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(minibatches=8, gamma=0.95, lr=1e-3)
    )
    """How the policy learns; its numbers of environments and steps follow from the tasks'."""
    teacher: Teacher = field(default_factory=Teacher)
    """Who answers on training tasks."""


class Pool(eqx.Module):
    """Clips to ask about, with what followed each step: a teacher watches, it does not guess."""

    clips: Segment
    next_obs: Float[Array, "clip length obs"]


class JointState(eqx.Module):
    """All there is to know to go on."""

    reward: LatentRewardState
    agent: Agent
    optimiser: optax.OptState
    pool: Pool
    tasks: Task
    iteration: Integer[Array, ""]
    key: PRNGKeyArray


def _policy_optimiser(config: JointConfig) -> optax.GradientTransformation:
    steps = config.iterations * config.ppo.epochs * config.ppo.minibatches
    lr = optax.linear_schedule(config.ppo.lr, 0.0, steps)
    return optax.chain(
        optax.clip_by_global_norm(config.ppo.max_grad_norm), optax.adam(lr, eps=1e-5)
    )


def _untold(agent: Agent) -> Agent:
    return agent.with_context(jnp.zeros(0))


def init(key: PRNGKeyArray, family: TaskFamily, config: JointConfig) -> JointState:
    """Draw the training tasks, and fill the pool with what an untrained policy does."""
    task_key, reward_key, agent_key, play_key, pool_key, key = jax.random.split(key, 6)
    tasks = jax.vmap(family.sample)(jax.random.split(task_key, config.reward.num_tasks))
    reward = reward_latent.init(
        reward_key, family, config.reward, config.iterations * config.reward_steps
    )
    agent = build_agent(
        agent_key, family, config.ppo.hidden, context_size=config.reward.latent_size
    )
    few = jax.tree.map(lambda x: x[: config.tasks], tasks)
    trajectory = conditioned.collect_tasks(
        play_key, family, few, agent, reward.bank[: config.tasks], config.episodes, family.horizon
    )
    pool = _draw_clips(pool_key, family, trajectory, config.pool)
    optimiser = _policy_optimiser(config).init(_untold(agent))
    return JointState(reward, agent, optimiser, pool, tasks, jnp.zeros((), jnp.int32), key)


def _draw_clips(
    key: PRNGKeyArray, family: TaskFamily, trajectory: Trajectory, count: int
) -> Pool:
    """Random clips of the episodes of many tasks."""
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectory)
    stride = max(1, family.segment_length // 2)
    clips, within_one = cut(flat, family.segment_length, stride)
    followed = eqx.tree_at(lambda t: t.obs, flat, flat.next_obs)
    next_obs = cut(followed, family.segment_length, stride)[0].obs
    logits = jnp.where(within_one, 0.0, -jnp.inf)
    index = jax.random.categorical(key, logits, shape=(count,))
    return Pool(clips[index], next_obs[index])


def meta_iterate(
    state: JointState, family: TaskFamily, config: JointConfig
) -> tuple[JointState, dict[str, Float[Array, ""]]]:
    """One iteration of meta-training. Pure."""
    key, task_key, play_key, pool_key, place_key, reward_key, learn_key = jax.random.split(
        state.key, 7
    )
    index = jax.random.randint(task_key, (config.tasks,), 0, config.reward.num_tasks)
    tasks = jax.tree.map(lambda x: x[index], state.tasks)
    trajectory = conditioned.collect_tasks(
        play_key, family, tasks, state.agent, state.reward.bank[index], config.episodes,
        family.horizon,
    )  # fmt: skip
    new = _draw_clips(pool_key, family, trajectory, config.pool_new)
    place = jax.random.choice(place_key, config.pool, (config.pool_new,), replace=False)
    pool = jax.tree.map(lambda rows, row: rows.at[place].set(row), state.pool, new)

    reward, reward_metrics = _learn_reward(state, reward_key, family, pool, config)
    contexts = reward.bank[index]
    weights = reward.model.decoder(contexts)
    paid = jnp.einsum("betf,bf->bet", reward.model.phi(trajectory.obs, trajectory.action), weights)
    agent, optimiser, metrics = conditioned.learn(
        learn_key, state.agent, state.optimiser, _policy_optimiser(config),
        trajectory.with_reward(paid), contexts, config.ppo,
    )  # fmt: skip
    metrics |= reward_metrics | {"return": episode_return(trajectory).mean()}
    return JointState(
        reward, agent, optimiser, pool, state.tasks, state.iteration + 1, key
    ), metrics


def _learn_reward(state, key, family, pool, config):
    total = config.iterations * config.reward_steps

    def step(reward, key):
        draw_key, step_key = jax.random.split(key)
        index = jax.random.randint(draw_key, (config.clips,), 0, config.pool)
        return reward_latent.train_step(
            reward, step_key, family, state.tasks, pool.clips[index], pool.next_obs[index],
            config.teacher, config.reward, total,
        )  # fmt: skip

    keys = jax.random.split(key, config.reward_steps)
    reward, metrics = jax.lax.scan(step, state.reward, keys)
    return reward, jax.tree.map(jnp.mean, metrics)
