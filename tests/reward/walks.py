"""Clips to be judged: random walks on a plane, paid for their distance to a goal."""

import jax.numpy as jnp
import numpy as np

from metarlhf.types import Segment

GOAL = np.array([0.3, 0.2])


def clips(seed, count):
    """So many, of five steps each."""
    rng = np.random.default_rng(seed)
    action = rng.uniform(-1, 1, (count, 5, 2))
    obs = rng.uniform(-0.5, 0.5, (count, 1, 2)) + 0.1 * np.cumsum(action, axis=1)
    reward = -np.linalg.norm(obs - GOAL, axis=-1)
    return Segment(*(jnp.asarray(x, jnp.float32) for x in (obs, action, reward)))
