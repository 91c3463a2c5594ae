"""Reacher: a two-link arm must bring its fingertip to a hidden target and hold it there.

A planar arm on a fixed base, driven by torques at shoulder and elbow, seen from above (no gravity).
Each link is a uniform rod of length l = 0.5 m and mass m = 1 kg. With q1 the angle of the upper arm
and q2 that of the forearm relative to it, the equations of motion are the textbook's (Spong,
Hutchinson and Vidyasagar, "Robot Modeling and Control", on the planar elbow manipulator):

    M(q) q'' + C(q, q') + D q' = u

    M = [a + 2 b cos q2,  c + b cos q2]    C = b sin q2 [-(2 q1' q2' + q2'^2)]    D = diag(1, 0.5)
        [c + b cos q2,    c           ]                 [ q1'^2             ]

    a = 5/3 m l^2,  b = m l^2 / 2,  c = m l^2 / 3          (D in N m s / rad, the others in kg m^2)

integrated with one step of the classical Runge-Kutta method (RK4) every 0.05 s.

The task is MuJoCo's Reacher in kind (a target, distance and control cost); the arm is larger and
slower, the targets cover nearly all that it can reach, and the observation does not tell them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.envs.base import Box, Discrete, Step, TaskFamily

Target = Float[Array, "2"]


class ReacherState(NamedTuple):
    """Joint angles (rad), joint velocities (rad/s), and steps since the episode began."""

    angle: Float[Array, "2"]
    velocity: Float[Array, "2"]
    time: Integer[Array, ""]


class Reacher:
    """The arm; the task is where the target is, in metres from the shoulder.

    Targets are uniform over the annulus of radii 0.2 m to 0.95 m (1 m is the whole arm, stretched).
    Episodes start bent at the elbow, fingertip near (0.71, 0), with noise of 0.05 rad (rad/s).
    Actions in [-1, 1] are fractions of the largest torques, 6 N m at the shoulder and 3 N m at the
    elbow: the farthest targets are about a second away.

    reward = -|fingertip - target| - 0.01 |action|^2, after the step.
    """

    name = "reacher"
    varies = "target position (2 numbers)"
    horizon = 100
    terminates = False
    segment_length = 10
    reward_bounds = (-1.5, 0.0)
    observation_space = Box(
        8,
        -float("inf"),
        float("inf"),
        (
            "cos shoulder",
            "sin shoulder",
            "cos elbow",
            "sin elbow",
            "shoulder velocity / 4",
            "elbow velocity / 4",
            "fingertip x",
            "fingertip y",
        ),
        ("", "", "", "", "rad/s", "rad/s", "m", "m"),
    )
    action_space: Box | Discrete = Box(2, -1.0, 1.0, ("shoulder torque", "elbow torque"))

    time_step = 0.05
    link_length = 0.5
    link_mass = 1.0
    max_torque = (6.0, 3.0)
    target_radius = (0.2, 0.95)
    rest_angle = (-jnp.pi / 4, jnp.pi / 2)
    noise = 0.05
    velocity_scale = 4.0
    control_cost = 0.01

    def __init__(self, damping: tuple[float, float] = (1.0, 0.5)):
        """`damping` of shoulder and elbow in N m s / rad; (0, 0) conserves energy."""
        self.damping = damping

    def without_termination(self) -> TaskFamily:
        return self

    def sample(self, key: PRNGKeyArray) -> Target:
        low, high = self.target_radius
        uniform = jax.random.uniform(key, (2,))
        radius = jnp.sqrt(low**2 + (high**2 - low**2) * uniform[0])
        angle = 2 * jnp.pi * uniform[1]
        return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def reset(self, key: PRNGKeyArray, task: Target) -> tuple[Float[Array, "8"], ReacherState]:
        noise = self.noise * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
        state = ReacherState(
            jnp.asarray(self.rest_angle) + noise[:2], noise[2:], jnp.zeros((), jnp.int32)
        )
        return self.observe(state), state

    def step(
        self, key: PRNGKeyArray, state: ReacherState, action: Float[Array, "2"], task: Target
    ) -> Step:
        torque = (
            self.max_torque[0] * jnp.clip(action[0], -1.0, 1.0),
            self.max_torque[1] * jnp.clip(action[1], -1.0, 1.0),
        )
        # Scalars, not vectors: the compiler fuses the whole of RK4 into one loop over environments.
        start = (state.angle[0], state.angle[1], state.velocity[0], state.velocity[1])
        h = self.time_step

        def ahead(slope, time):
            return tuple(x + time * d for x, d in zip(start, slope, strict=True))

        k1 = self._slope(start, torque)
        k2 = self._slope(ahead(k1, h / 2), torque)
        k3 = self._slope(ahead(k2, h / 2), torque)
        k4 = self._slope(ahead(k3, h), torque)
        end = [
            x + h / 6 * (d1 + 2 * (d2 + d3) + d4)
            for x, d1, d2, d3, d4 in zip(start, k1, k2, k3, k4, strict=True)
        ]
        following = ReacherState(jnp.stack(end[:2]), jnp.stack(end[2:]), state.time + 1)
        obs = self.observe(following)
        reward = self.reward(obs, action, obs, task)
        return Step(obs, following, reward, jnp.zeros((), bool), following.time >= self.horizon)

    def reward(
        self,
        obs: Float[Array, "8"],
        action: Float[Array, "2"],
        next_obs: Float[Array, "8"],
        task: Target,
    ) -> Float[Array, ""]:
        distance = jnp.sqrt(jnp.sum((next_obs[6:8] - task) ** 2) + 1e-12)
        return -distance - self.control_cost * jnp.sum(jnp.clip(action, -1.0, 1.0) ** 2)

    def observe(self, state: ReacherState) -> Float[Array, "8"]:
        """Cosine and sine of both angles, scaled velocities, and the fingertip's position."""
        cos, sin = jnp.cos(state.angle), jnp.sin(state.angle)
        x = self.link_length * (cos[0] + cos[0] * cos[1] - sin[0] * sin[1])
        y = self.link_length * (sin[0] + sin[0] * cos[1] + cos[0] * sin[1])
        w1, w2 = state.velocity / self.velocity_scale
        return jnp.stack([cos[0], sin[0], cos[1], sin[1], w1, w2, x, y])

    def _slope(self, state, torque):
        """Time derivative of (q1, q2, q1', q2')."""
        _, q2, w1, w2 = state
        inertia = self.link_mass * self.link_length**2
        a, b, c = 5 / 3 * inertia, inertia / 2, inertia / 3
        cos, sin = b * jnp.cos(q2), b * jnp.sin(q2)
        m11, m12, m22 = a + 2 * cos, c + cos, c
        f1 = torque[0] + sin * w2 * (2 * w1 + w2) - self.damping[0] * w1
        f2 = torque[1] - sin * w1 * w1 - self.damping[1] * w2
        determinant = m11 * m22 - m12 * m12
        return (
            w1,
            w2,
            (m22 * f1 - m12 * f2) / determinant,
            (m11 * f2 - m12 * f1) / determinant,
        )
