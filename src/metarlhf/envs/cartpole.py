"""CartPole: a pole on a cart must not fall. Gymnasium's CartPole-v1, step for step.

Equations of Barto, Sutton and Anderson (1983) without friction, as in Gymnasium: cart of 1 kg, pole
of 0.1 kg and half-length L = 0.5 m, force of +-10 N, explicit Euler with 0.02 s. With p = m_pole L
and the total mass M,

    t       = (force + p theta'^2 sin theta) / M
    theta'' = (g sin theta - t cos theta) / (L (4/3 - m_pole cos^2 theta / M))
    x''     = t - p theta'' cos theta / M

The episode terminates when |x| > 2.4 m or |theta| > 12 degrees and is truncated after 500 steps;
each step pays 1, the last included. The state starts in U[-0.05, 0.05]^4.

A family of one task, for measuring PPO: a constant reward gives a teacher nothing to compare.
`CartPole(half_length=(0.25, 1.0))` makes it a family of poles.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.envs.base import Box, Discrete, Step, TaskFamily

HalfLength = Float[Array, ""]


class CartPoleState(NamedTuple):
    """What is observed (m, m/s, rad, rad/s), and steps since the episode began."""

    obs: Float[Array, "4"]
    time: Integer[Array, ""]


class CartPole:
    """The cart; the task is the pole's half-length in metres."""

    name = "cartpole"
    horizon = 500
    segment_length = 25
    reward_bounds = (0.0, 1.0)
    observation_space = Box(
        4,
        -float("inf"),
        float("inf"),
        ("cart position", "cart speed", "pole angle", "pole speed"),
        ("m", "m/s", "rad", "rad/s"),
    )
    action_space: Box | Discrete = Discrete(2, ("push left", "push right"))

    time_step = 0.02
    gravity = 9.8
    cart_mass = 1.0
    pole_mass = 0.1
    force = 10.0
    max_position = 2.4
    max_angle = 12 * 2 * jnp.pi / 360

    def __init__(self, half_length: tuple[float, float] = (0.5, 0.5)):
        """`half_length` is the range, in metres, that tasks are drawn from."""
        low, high = half_length
        if not 0 < low <= high:
            raise ValueError(
                f"half_length = {half_length} must be a range (low, high) with 0 < low <= high"
            )
        self.half_length = half_length
        self.varies = "nothing" if low == high else "pole half-length (1 number)"

    def without_termination(self) -> TaskFamily:
        """Its end tells of the pole, not of a hidden goal: it stays."""
        return self

    def sample(self, key: PRNGKeyArray) -> HalfLength:
        low, high = self.half_length
        return jax.random.uniform(key, minval=low, maxval=high)

    def reset(self, key: PRNGKeyArray, task: HalfLength) -> tuple[Float[Array, "4"], CartPoleState]:
        obs = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return obs, CartPoleState(obs, jnp.zeros((), jnp.int32))

    def step(
        self, key: PRNGKeyArray, state: CartPoleState, action: Integer[Array, ""], task: HalfLength
    ) -> Step:
        _, x_dot, angle, angle_dot = state.obs
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        total_mass = self.cart_mass + self.pole_mass
        moment = self.pole_mass * task
        force = jnp.where(action == 1, self.force, -self.force)
        push = (force + moment * angle_dot**2 * sin) / total_mass
        angle_acc = (self.gravity * sin - push * cos) / (
            task * (4 / 3 - self.pole_mass * cos**2 / total_mass)
        )
        x_acc = push - moment * angle_acc * cos / total_mass
        obs = state.obs + self.time_step * jnp.stack([x_dot, x_acc, angle_dot, angle_acc])
        time = state.time + 1
        fallen = (jnp.abs(obs[0]) > self.max_position) | (jnp.abs(obs[2]) > self.max_angle)
        reward = self.reward(state.obs, action, obs, task)
        return Step(obs, CartPoleState(obs, time), reward, fallen, time >= self.horizon)

    def reward(
        self,
        obs: Float[Array, "4"],
        action: Integer[Array, ""],
        next_obs: Float[Array, "4"],
        task: HalfLength,
    ) -> Float[Array, ""]:
        return jnp.ones(())
