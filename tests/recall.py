"""A task that memory alone solves: what was shown at first must be named at the end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer

from metarlhf.envs import Box, Discrete, Step


class Shown(NamedTuple):
    """What was shown, and steps since."""

    cue: Integer[Array, ""]
    time: Integer[Array, ""]


class Recall:
    """The first observation shows -1 or 1, the later ones 0; the last action should name it.

    A policy without memory gets 0 on average, whatever it does; one with memory gets 1.
    """

    name = "recall"
    observation_space = Box(1, -1.0, 1.0, ("cue",))
    action_space = Discrete(2, ("it was -1", "it was 1"))

    def __init__(self, horizon: int = 4):
        self.horizon = horizon

    def sample(self, key):
        return jnp.zeros(())

    def reset(self, key, task):
        cue = jax.random.randint(key, (), 0, 2)
        return (2.0 * cue - 1.0)[None], Shown(cue, jnp.zeros((), jnp.int32))

    def step(self, key, state, action, task) -> Step:
        time = state.time + 1
        last = time >= self.horizon
        reward = jnp.where(last, jnp.where(action == state.cue, 1.0, -1.0), 0.0)
        return Step(jnp.zeros(1), Shown(state.cue, time), reward, last, jnp.zeros((), bool))
