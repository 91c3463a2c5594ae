"""A policy that is told what is believed about the task: one initialisation for every belief.

Trained by plain PPO over many tasks at once, each environment with its own task variable as
context. To PPO the context is part of the observation, so nothing of PPO is written again here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import TaskFamily
from metarlhf.networks import Agent
from metarlhf.ppo.update import Metrics, make_batch, update
from metarlhf.sampling.compiled import play_episodes
from metarlhf.types import Task, Trajectory


def collect_tasks(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    agent: Agent,
    contexts: Float[Array, "task context"],
    episodes: int,
) -> Trajectory:
    """Fresh episodes of every task: a trajectory with dimensions (task, env, time)."""

    def one(key, task, context):
        return play_episodes(key, family, task, agent.with_context(context).actor, episodes)

    return jax.vmap(one)(jax.random.split(key, contexts.shape[0]), tasks, contexts)


def as_one_task(trajectory: Trajectory, contexts: Float[Array, "task context"]) -> Trajectory:
    """(task, env, time) to (env, time), with each task's context appended to its observations."""

    def told(obs):
        shape = (*obs.shape[:-1], contexts.shape[-1])
        told = jnp.concatenate([obs, jnp.broadcast_to(contexts[:, None, None], shape)], -1)
        return told

    trajectory = eqx.tree_at(
        lambda t: (t.obs, t.next_obs), trajectory, (told(trajectory.obs), told(trajectory.next_obs))
    )
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectory)


def learn(
    key: PRNGKeyArray,
    agent: Agent,
    optimiser_state: optax.OptState,
    optimiser: optax.GradientTransformation,
    trajectory: Trajectory,
    contexts: Float[Array, "task context"],
    config: ppo.PPOConfig,
) -> tuple[Agent, optax.OptState, Metrics]:
    """One clipped PPO update from the episodes of many tasks, each of which counts as much.

    What can be won differs a hundredfold between a task that is half done by doing nothing and one
    that is far: so advantages are counted in each task's own standard deviation.
    """
    untold = agent.with_context(jnp.zeros(0))
    batch, _ = make_batch(untold, as_one_task(trajectory, contexts), config)
    advantage = batch.advantage.reshape(contexts.shape[0], -1)
    advantage = advantage / (advantage.std(-1, keepdims=True) + 1e-8)
    batch = eqx.tree_at(lambda b: b.advantage, batch, advantage.reshape(-1))
    untold, optimiser_state, metrics = update(
        key, untold, optimiser_state, optimiser, batch, config, jnp.ones(())
    )
    return untold.with_context(agent.actor.context), optimiser_state, metrics
