"""Rewards whose explanation is known."""

import equinox as eqx
import jax.numpy as jnp

from metarlhf import envs

FAMILY = envs.make_family("navigation")  # inputs: x, y, move x, move y


class Quadratic(eqx.Module):
    """2 x^2 - y^2 + x y + 0.5 move x, and 3 besides."""

    def __call__(self, obs, action, next_obs):
        x, y = obs[..., 0], obs[..., 1]
        return 2 * x**2 - y**2 + x * y + 0.5 * action[..., 0] + 3


class Shaped(eqx.Module):
    """Another reward, scaled and shaped by a potential: the same optimal policies."""

    reward: eqx.Module
    scale: float
    discount: float

    def __call__(self, obs, action, next_obs):
        potential = lambda obs: jnp.sin(3 * obs[..., 0]) + obs[..., 1] ** 2
        shaping = self.discount * potential(next_obs) - potential(obs)
        return self.scale * self.reward(obs, action, next_obs) + shaping + 7


class Kink(eqx.Module):
    """|x|, which no smooth rule integrates at once."""

    def __call__(self, obs, action, next_obs):
        return jnp.abs(obs[..., 0])
