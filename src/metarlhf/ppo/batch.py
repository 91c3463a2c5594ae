"""From trajectories to what an update learns from."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from metarlhf.networks import Agent, Distribution
from metarlhf.networks.body import forget
from metarlhf.ppo.advantages import gae
from metarlhf.ppo.config import PPOConfig
from metarlhf.types import Observation, State, Trajectory


class Memories(NamedTuple):
    """What policy and value function remember, environment by environment; None without memory."""

    actor: State
    critic: State


class Batch(eqx.Module):
    """What an update learns from, judged by the agent that made it.

    Without memory the rows are steps, in any order. With one they are environments, each a sequence
    of steps that begins with what `start` says was remembered.
    """

    obs: Observation
    action: Shaped[Array, "..."]
    log_prob: Float[Array, "row *time"]
    advantage: Float[Array, "row *time"]
    value_target: Float[Array, "row *time"]
    value: Float[Array, "row *time"] | None
    """What the value function said; None where nobody asks."""
    policy: Distribution | None
    """What the policy said, likewise."""
    start: Memories
    done: Bool[Array, "row time"] | None


def make_batch(
    agent: Agent, trajectory: Trajectory, config: PPOConfig, critic_memory: State = None
) -> tuple[Batch, State]:
    """Estimate advantages of a trajectory with dimensions (env, time).

    `critic_memory` is what the value function remembers at its first step. Returns also what it
    remembers after the last.
    """
    critic, ends = agent.value_function, trajectory.done
    value, after = critic.over(trajectory.obs, critic_memory, ends)
    next_value = critic(trajectory.next_obs, after)
    advantage = gae(
        trajectory.reward,
        value,
        next_value,
        trajectory.terminated,
        trajectory.truncated,
        config.gamma,
        config.gae_lambda,
    )
    last = jax.tree.map(lambda x: x[:, -1], after)
    remembered = forget(ends[:, -1], critic.initial_state(), last)
    start = Memories(trajectory.memory, critic_memory)
    has_memory = agent.actor.body.memory is not None
    rows = (lambda x: x) if has_memory else (lambda x: x.reshape(-1, *x.shape[2:]))
    obs, done = jax.tree.map(rows, trajectory.obs), ends if has_memory else None
    needs_policy = config.objective in ("kl", "trpo")
    batch = Batch(
        obs=obs,
        action=rows(trajectory.action),
        log_prob=rows(trajectory.log_prob),
        advantage=rows(advantage),
        value_target=rows(advantage + value),
        value=rows(value) if config.value_clip else None,
        policy=agent.actor.rows_over(obs, start.actor, done) if needs_policy else None,
        start=start,
        done=done,
    )
    return batch, remembered


def explained_variance(batch: Batch) -> Float[Array, ""]:
    """1 - Var(target - value) / Var(target): 1 is perfect, 0 no better than a constant."""
    return 1.0 - jnp.var(batch.advantage) / (jnp.var(batch.value_target) + 1e-8)
