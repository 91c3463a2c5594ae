"""Gymnasium's Pendulum-v1, compiled, as a family of one task that a teacher can judge."""

import jax.numpy as jnp

from metarlhf import envs


class PendulumV1:
    """Gymnax's Pendulum-v1, and what it pays as a function of what is seen and done."""

    name, varies = "pendulum-v1", "nothing"
    terminates = False
    horizon, segment_length = 200, 50
    reward_bounds = (-16.3, 0.0)

    def __init__(self):
        self._env = envs.make("gymnax:Pendulum-v1")
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space
        self.sample, self.reset = self._env.sample, self._env.reset
        self.step = self._env.step

    def without_termination(self):
        """None of its episodes ends."""
        return self

    def reward(self, obs, action, next_obs, task):
        """-(angle^2 + 0.1 speed^2 + 0.001 torque^2), of the state before, as Gymnasium's."""
        angle = jnp.arctan2(obs[1], obs[0])
        torque = jnp.clip(action[0], -2.0, 2.0)
        return -(angle**2 + 0.1 * obs[2] ** 2 + 0.001 * torque**2)
