"""Clips to be judged: random walks on a plane, paid for their distance to a goal; or anything."""

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


def scattered(seed, count, length=5, size=1.0):
    """So many, of steps from anywhere within `size` of the middle, paid for their x."""
    rng = np.random.default_rng(seed)
    obs, action = rng.uniform(-size, size, (2, count, length, 2))
    return Segment(*(jnp.asarray(x, jnp.float32) for x in (obs, action, obs[..., 0])))
