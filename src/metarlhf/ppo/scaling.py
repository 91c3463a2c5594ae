"""Rewards in units of how much returns vary ("reward scaling", Engstrom et al. 2020)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.networks import Moments
from metarlhf.types import Trajectory


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
