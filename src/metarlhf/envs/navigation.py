"""Navigation: a point on a plane must find and stay at a hidden goal.

Presets
-------
`finn2017`: MAML's 2D navigation (Finn et al. 2017, section 5.3 and the authors' code): start at
the origin, actions clipped to 0.1 a step, reward the negative distance to a goal drawn from
U[-0.5, 0.5]^2, done within 0.01 of it on both axes, 100 steps.

`pearl2019`: PEARL's sparse point robot (Rakelly et al. 2019 and the authors' code): start at the
origin, goals on the unit half-circle, reward 1 - distance within 0.2 of the goal and 0 elsewhere,
never done, 20 steps of at most 0.1. Theirs has 100 goals evenly spaced on the half-circle, ours any
on it; theirs pays the dense reward while meta-training, ours always the sparse one.

Navigation round a place where the point must never be; nobody tells the agent of that either.
"""

from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.envs.base import Box, Discrete, Step, TaskFamily

Goal = Float[Array, "2"]
Place = Float[Array, " numbers"]


class NavigationState(NamedTuple):
    """Position on the plane, and steps since the episode began."""

    position: Float[Array, "2"]
    time: Integer[Array, ""]


class Navigation:
    """A point robot; the goal is the task, and the agent sees only where it is itself."""

    varies = "goal position (2 numbers)"
    max_speed = 0.1

    def __init__(self, preset: str = "finn2017", terminates: bool = True):
        """`terminates=False` plays on at the goal: ending an episode there would give it away."""
        if preset not in ("finn2017", "pearl2019"):
            raise ValueError(
                f"navigation has no preset {preset!r}; choose 'finn2017' or 'pearl2019'"
            )
        self.preset = preset
        self.name = f"navigation/{preset}"
        self.sparse = preset == "pearl2019"
        self.terminates = terminates and not self.sparse
        self.horizon = 20 if self.sparse else 100
        self.segment_length = 5 if self.sparse else 10
        self.reward_bounds = (0.0, 1.0) if self.sparse else (-1.0, 0.0)
        self.observation_space = Box(2, -float("inf"), float("inf"), ("x", "y"))
        self.action_space: Box | Discrete = Box(
            2, -self.max_speed, self.max_speed, ("move x", "move y")
        )

    def without_termination(self) -> TaskFamily:
        return self._endless if self.terminates else self

    @cached_property
    def _endless(self) -> "Navigation":
        """Always the same object, so that what was compiled for it is found again."""
        return Navigation(self.preset, terminates=False)

    def goal(self, task: Place) -> Goal:
        """Where to go: all that there is to a task here."""
        return task

    def sample(self, key: PRNGKeyArray) -> Place:
        if self.sparse:
            angle = jax.random.uniform(key, maxval=jnp.pi)
            return jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return jax.random.uniform(key, (2,), minval=-0.5, maxval=0.5)

    def reset(self, key: PRNGKeyArray, task: Place) -> tuple[Float[Array, "2"], NavigationState]:
        position = jnp.zeros(2)
        return position, NavigationState(position, jnp.zeros((), jnp.int32))

    def step(
        self, key: PRNGKeyArray, state: NavigationState, action: Float[Array, "2"], task: Place
    ) -> Step:
        move = jnp.clip(action, -self.max_speed, self.max_speed)
        position = state.position + move
        time = state.time + 1
        reward = self.reward(state.position, action, position, task)
        reached = jnp.all(jnp.abs(position - self.goal(task)) < 0.01) & self.terminates
        return Step(
            position, NavigationState(position, time), reward, reached, time >= self.horizon
        )

    def reward(
        self,
        obs: Float[Array, "2"],
        action: Float[Array, "2"],
        next_obs: Float[Array, "2"],
        task: Place,
    ) -> Float[Array, ""]:
        distance = jnp.sqrt(jnp.sum((next_obs - self.goal(task)) ** 2) + 1e-12)
        if self.sparse:
            return jnp.where(distance <= 0.2, 1.0 - distance, 0.0)
        return -distance


class Hazard(Navigation):
    """The point robot of Finn et al. 2017, with a forbidden disc of radius 0.12 on its way.

    A task is the goal, then the disc's centre. Goals are 0.5 to 0.7 from the start, in any
    direction; the disc is half way, up to 0.05 to the side. What is paid knows nothing of it: the
    straight way costs two or three steps in it, the way round it next to no reward.
    """

    varies = "goal and forbidden place (4 numbers)"
    radius = 0.12
    nearest, farthest = 0.5, 0.7

    def __init__(self, terminates: bool = True):
        super().__init__("finn2017", terminates)
        self.name = "navigation/hazard"

    @cached_property
    def _endless(self) -> "Hazard":
        return Hazard(terminates=False)

    def sample(self, key: PRNGKeyArray) -> Place:
        angle, distance, side = jax.random.uniform(key, (3,))
        ahead = jnp.stack([jnp.cos(2 * jnp.pi * angle), jnp.sin(2 * jnp.pi * angle)])
        goal = (self.nearest + (self.farthest - self.nearest) * distance) * ahead
        aside = (0.1 * side - 0.05) * jnp.stack([-ahead[1], ahead[0]])
        return jnp.concatenate([goal, 0.5 * goal + aside])

    def goal(self, task: Place) -> Goal:
        return task[:2]

    def cost(
        self, obs: Float[Array, "2"], action: Float[Array, "2"], task: Place
    ) -> Float[Array, ""]:
        """1 for a step that leads into the disc, or within it; 0 for any other."""
        position = obs + jnp.clip(action, -self.max_speed, self.max_speed)
        return (jnp.sum((position - task[2:]) ** 2) < self.radius**2).astype(float)
