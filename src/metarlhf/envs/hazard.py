"""Navigation round a place where the point must never be; nobody tells the agent of that either."""

from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.navigation import Goal, Navigation, Place


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
