"""Policy x environment x task -> `Trajectory`, for compiled tasks: one `scan`.

Everything random is drawn before the loop (action noise, the states that episodes restart from),
and everything that is not needed inside it (values, advantages) is computed after: on a CPU the
loop's time is the number of operations in its body, not their size.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import Environment
from metarlhf.networks import Actor
from metarlhf.networks.actor_critic import forget, initial_states
from metarlhf.types import Observation, State, Task, Trajectory

# Folded into a training state's key for its evaluation. JAX's `fold_in` by a small number gives the
# very keys that `split` does: evaluation would play with the noise that training plays with next.
EVALUATION = 0xE7A1


class RolloutState(NamedTuple):
    """Where a batch of environments and their policy stand between two rollouts."""

    obs: Observation
    env: State
    policy: State


def reset(
    key: PRNGKeyArray, family: Environment, task: Task, actor: Actor, num_envs: int
) -> RolloutState:
    """Start an episode in each of `num_envs` environments of one task."""
    obs, env = jax.vmap(family.reset, (0, None))(jax.random.split(key, num_envs), task)
    return RolloutState(obs, env, initial_states(actor, num_envs))


def collect(
    key: PRNGKeyArray,
    family: Environment,
    task: Task,
    actor: Actor,
    start: RolloutState,
    num_steps: int,
    deterministic: bool = False,
) -> tuple[RolloutState, Trajectory]:
    """Act for `num_steps` in every environment, restarting each where its episode ends.

    Returns the state to go on from, and a trajectory with leading dimensions (env, time).
    """
    num_envs = jax.tree.leaves(start.obs)[0].shape[0]
    noise_key, reset_key, step_key = jax.random.split(key, 3)
    shape = (num_steps, num_envs)
    noise = actor.draw_noise(noise_key, shape)
    fresh = jax.vmap(jax.vmap(family.reset, (0, None)), (0, None))(
        jax.random.split(reset_key, shape), task
    )
    step_keys = jax.random.split(step_key, shape)

    def step(carry: RolloutState, inputs):
        noise, (fresh_obs, fresh_env), keys = inputs
        distribution, policy = actor(carry.obs, carry.policy)
        action = distribution.mode() if deterministic else distribution.sample(noise)
        log_prob = distribution.log_prob(action)
        unit = family.action_space.from_unit(action)
        next_obs, env, reward, terminated, truncated = jax.vmap(family.step, (0, 0, 0, None))(
            keys, carry.env, unit, task
        )
        done = terminated | truncated
        following = RolloutState(
            forget(done, fresh_obs, next_obs),
            forget(done, fresh_env, env),
            forget(done, actor.initial_state(), policy),
        )
        return following, Trajectory(
            carry.obs,
            action,
            log_prob,
            next_obs,
            reward,
            reward,
            terminated,
            truncated & ~terminated,
        )

    end, trajectory = jax.lax.scan(step, start, (noise, fresh, step_keys))
    trajectory = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), trajectory)
    return end, replace(trajectory, memory=start.policy)


def episode_return(trajectory: Trajectory) -> Float[Array, "*batch"]:
    """Sum of the task's reward until the first episode end, for rollouts that start an episode."""
    ended_before = jnp.cumsum(trajectory.done, axis=-1) - trajectory.done > 0
    return jnp.sum(jnp.where(ended_before, 0.0, trajectory.task_reward), axis=-1)


def play_episodes(
    key: PRNGKeyArray,
    family: Environment,
    task: Task,
    actor: Actor,
    num_episodes: int,
    deterministic: bool = False,
) -> Trajectory:
    """Fresh episodes until the horizon, a row each; what follows an earlier end is the next one."""
    reset_key, collect_key = jax.random.split(key)
    start = reset(reset_key, family, task, actor, num_episodes)
    return collect(collect_key, family, task, actor, start, family.horizon, deterministic)[1]


def evaluate(
    key: PRNGKeyArray,
    family: Environment,
    task: Task,
    actor: Actor,
    num_episodes: int,
    deterministic: bool = True,
) -> Float[Array, " episodes"]:
    """True returns of whole episodes; but for this, simulated teachers alone see true rewards."""
    return episode_return(play_episodes(key, family, task, actor, num_episodes, deterministic))
