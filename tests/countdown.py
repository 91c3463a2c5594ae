"""A family whose every number can be worked out by hand, for tests of rollouts and returns."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from metarlhf.envs import Box, Step


class CountState(NamedTuple):
    """Steps since the episode began."""

    time: Integer[Array, ""]


class Countdown:
    """The observation is the number of steps taken, which is also what the next step pays.

    The task is after how many steps an episode terminates; it is truncated after `horizon`.
    """

    name = "countdown"
    varies = "length of an episode (1 number)"
    segment_length = 2
    reward_bounds = (0.0, 10.0)
    observation_space = Box(1, -float("inf"), float("inf"), ("steps",))
    action_space = Box(1, -1.0, 1.0, ("nothing",))

    def __init__(self, horizon: int = 5):
        self.horizon = horizon

    def sample(self, key):
        return jnp.array(100)

    def reset(self, key, task):
        return jnp.zeros(1), CountState(jnp.zeros((), jnp.int32))

    def step(self, key, state, action, task) -> Step:
        obs, time = state.time[None].astype(jnp.float32), state.time + 1
        after = time[None].astype(jnp.float32)
        reward = self.reward(obs, action, after, task)
        return Step(after, CountState(time), reward, time >= task, time >= self.horizon)

    def reward(self, obs, action, next_obs, task) -> Float[Array, ""]:
        return obs[0]

    def without_termination(self):
        return self
