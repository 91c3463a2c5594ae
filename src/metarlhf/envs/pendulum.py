"""Pendulum: a rod on a motor must be brought to a hidden angle and held there.

The dynamics are those of Gymnasium's Pendulum-v1 (rod of mass m = 1 kg and length l = 1 m, g = 10,
theta = 0 upright, semi-implicit Euler with 0.05 s, speed limited to 8 rad/s):

    theta'' = 3 g / (2 l) sin(theta) + 3 / (m l^2) u

What differs from Gymnasium's:
- the angle to hold is the hidden task, theta* ~ U[-pi, pi], not always upright;
- the torque limit is 6 N m, not 2: every angle can be held (the horizontal needs m g l / 2 =
  5 N m), though lifting the rod past the horizontal is slow without momentum;
- episodes start hanging down, nearly at rest, and last 100 steps instead of 200;
- reward = -|theta - theta*| - 0.01 theta'^2 - 0.001 u^2 (angles wrapped), of the state after the
  step and linear in the angle, so that marks from 1 to 10 tell near from far; Gymnasium's is
  quadratic, and of the state before.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.envs.base import Box, Discrete, Step, TaskFamily

Angle = Float[Array, ""]


class PendulumState(NamedTuple):
    """Angle from upright (rad, not wrapped), speed (rad/s), and steps since the episode began."""

    angle: Float[Array, ""]
    speed: Float[Array, ""]
    time: Integer[Array, ""]


class Pendulum:
    """The rod; the task is the angle to hold, in rad from upright."""

    name = "pendulum"
    varies = "angle to hold (1 number)"
    horizon = 100
    terminates = False
    segment_length = 10
    reward_bounds = (-3.2, 0.0)
    observation_space = Box(
        3,
        -float("inf"),
        float("inf"),
        ("cos angle", "sin angle", "speed / 4"),
        ("", "", "rad/s"),
    )

    time_step = 0.05
    gravity = 10.0
    mass = 1.0
    length = 1.0
    max_speed = 8.0
    noise = 0.1
    speed_scale = 4.0

    def __init__(self, max_torque: float = 6.0):
        """`max_torque` in N m; below 5, some angles can be passed but not held."""
        self.max_torque = max_torque
        self.action_space: Box | Discrete = Box(1, -max_torque, max_torque, ("torque",), ("N m",))

    def without_termination(self) -> TaskFamily:
        return self

    def sample(self, key: PRNGKeyArray) -> Angle:
        return jax.random.uniform(key, minval=-jnp.pi, maxval=jnp.pi)

    def reset(self, key: PRNGKeyArray, task: Angle) -> tuple[Float[Array, "3"], PendulumState]:
        noise = self.noise * jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        state = PendulumState(jnp.pi + noise[0], noise[1], jnp.zeros((), jnp.int32))
        return self.observe(state), state

    def step(
        self, key: PRNGKeyArray, state: PendulumState, action: Float[Array, "1"], task: Angle
    ) -> Step:
        torque = jnp.clip(action[0], -self.max_torque, self.max_torque)
        lift = 3 * self.gravity / (2 * self.length) * jnp.sin(state.angle)
        push = 3 / (self.mass * self.length**2) * torque
        speed = state.speed + (lift + push) * self.time_step
        speed = jnp.clip(speed, -self.max_speed, self.max_speed)
        angle = state.angle + speed * self.time_step
        following = PendulumState(angle, speed, state.time + 1)
        obs = self.observe(following)
        reward = self.reward(obs, action, obs, task)
        return Step(obs, following, reward, jnp.zeros((), bool), following.time >= self.horizon)

    def reward(
        self,
        obs: Float[Array, "3"],
        action: Float[Array, "1"],
        next_obs: Float[Array, "3"],
        task: Angle,
    ) -> Float[Array, ""]:
        error = jnp.arctan2(next_obs[1], next_obs[0]) - task
        error = jnp.mod(error + jnp.pi, 2 * jnp.pi) - jnp.pi
        speed = self.speed_scale * next_obs[2]
        torque = jnp.clip(action[0], -self.max_torque, self.max_torque)
        return -jnp.abs(error) - 0.01 * speed**2 - 0.001 * torque**2

    def observe(self, state: PendulumState) -> Float[Array, "3"]:
        """Cosine and sine of the angle, and the scaled speed."""
        return jnp.stack(
            [jnp.cos(state.angle), jnp.sin(state.angle), state.speed / self.speed_scale]
        )
