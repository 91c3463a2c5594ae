"""Advantage estimation.

Rewards in units of how much returns vary ("reward scaling", Engstrom et al. 2020).

From trajectories to what an update learns from.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from metarlhf.networks import Agent, Distribution, Moments
from metarlhf.networks.actor_critic import forget
from metarlhf.ppo.config import PPOConfig
from metarlhf.types import Observation, State, Trajectory


def gae(
    reward: Float[Array, "*batch time"],
    value: Float[Array, "*batch time"],
    next_value: Float[Array, "*batch time"],
    terminated: Bool[Array, "*batch time"],
    truncated: Bool[Array, "*batch time"],
    gamma: float,
    gae_lambda: float,
) -> Float[Array, "*batch time"]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    `next_value[t]` is the value of what followed step t before any reset. A terminated episode is
    worth nothing from there on; a truncated one is worth `next_value`; neither passes anything back
    from the episode that comes after.
    """
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    keep = gamma * gae_lambda * (1.0 - (terminated | truncated))

    def back(advantage, step):
        delta, keep = step
        advantage = delta + keep * advantage
        return advantage, advantage

    time_first = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), (delta, keep))
    _, advantages = jax.lax.scan(back, jnp.zeros(delta.shape[:-1]), time_first, reverse=True)
    return jnp.moveaxis(advantages, 0, -1)


class RewardScale(eqx.Module):
    """Discounted returns up to now, environment by environment, and their moments over all time."""

    returns: Float[Array, " env"]
    moments: Moments

    @staticmethod
    def start(num_envs: int) -> "RewardScale":
        """Nothing paid yet."""
        return RewardScale(jnp.zeros(num_envs), Moments.of(jnp.zeros(())))

    def apply(
        self, trajectory: Trajectory, gamma: float, most: float = 10.0
    ) -> tuple[Trajectory, "RewardScale"]:
        """The trajectory in the new units, clipped to +-`most`, and the scale that has seen it.

        Rewards are divided, not shifted: a shift would change which policy is best where episodes
        end by themselves.
        """

        def step(returns, inputs):
            reward, done = inputs
            returns = gamma * returns + reward
            return jnp.where(done, 0.0, returns), returns

        time_first = (trajectory.reward.T, trajectory.done.T)
        last, seen = jax.lax.scan(step, self.returns, time_first)
        moments = self.moments.update(seen)
        std = jnp.sqrt(moments.mean_variance[1] + 1e-8)
        paid = trajectory.with_reward(jnp.clip(trajectory.reward / std, -most, most))
        return paid, RewardScale(last, moments)


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
