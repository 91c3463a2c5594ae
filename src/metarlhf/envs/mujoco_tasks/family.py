"""A family of MuJoCo tasks: a distribution, and simulators that are told their task."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import gymnasium
from gymnasium.wrappers import TimeLimit
from jaxtyping import PRNGKeyArray

from metarlhf.envs.gymnasium_spaces import action_space, observation_space
from metarlhf.envs.herds import Herds
from metarlhf.envs.spaces import ActionSpace, Box, ObservationSpace
from metarlhf.types import Task


def limited(make: Callable[..., gymnasium.Env], what: Any, horizon: int) -> gymnasium.Env:
    """A simulator of which episodes are truncated at the horizon."""
    return TimeLimit(make(what), max_episode_steps=horizon)


class MujocoFamily:
    """`sample` draws tasks; `connect` gives simulators that step together, each in its own task."""

    def __init__(
        self,
        name: str,
        varies: str,
        draw: Callable[[PRNGKeyArray], Task],
        make: Callable[..., gymnasium.Env],
        what: Any,
        horizon: int,
        reach: float = 1.0,
    ):
        """`make(what)` is a simulator; `reach` is how far a policy's actions go (see `Box`)."""
        self.name, self.varies, self.horizon, self.reach = name, varies, horizon, reach
        self._draw, self._make = draw, partial(limited, make, what, horizon)

    def sample(self, key: PRNGKeyArray) -> Task:
        return self._draw(key)

    def connect(self, num_envs: int) -> Herds:
        """So many simulators, in a process for each core; tell them their tasks first."""
        env = Herds(self._make, num_envs, self.name, self.horizon)
        env.action_space = self.action_space
        return env

    @property
    def observation_space(self) -> ObservationSpace:
        return self._spaces[0]

    @property
    def action_space(self) -> ActionSpace:
        return self._spaces[1]

    # With an underscore: a public one would tell one family from another by whether it was asked.
    @cached_property
    def _spaces(self) -> tuple[ObservationSpace, ActionSpace]:
        """As one simulator says."""
        env = self._make()
        sees, does = observation_space(env.observation_space), action_space(env.action_space)
        env.close()
        return sees, does._replace(reach=self.reach) if isinstance(does, Box) else does
