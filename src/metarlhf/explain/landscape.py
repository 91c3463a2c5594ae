"""A reward over two features: only where something was seen, and with how sure it is."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from metarlhf.envs.base import Shown
from metarlhf.explain.rewards import Feature
from metarlhf.reward import Belief
from metarlhf.types import Segment

# Of a feature's range: what is farther from every step that was seen is taken as unknown.
NEAR = 0.04


class Places(NamedTuple):
    """A grid over two features, on steps that were seen."""

    rows: Float[np.ndarray, "row inputs"]
    """For each cell the `neighbours` nearest steps, moved into it: what else they hold stays, so
    that features which depend on one another are not torn apart more than need be."""
    density: Float[np.ndarray, "size size"]
    """How often a cell was seen, smoothed; 1 in the most visited one. Indexed [y, x]."""
    seen: Bool[np.ndarray, "size size"]
    """Whether anything near the cell was seen."""
    extent: tuple[float, float, float, float]
    """Lowest and highest x, lowest and highest y, as inputs."""

    def average(self, values: np.ndarray) -> Float[np.ndarray, "size size"]:
        """One number for each cell of one for each row; not a number where nothing was seen."""
        size = self.seen.shape[0]
        mean = np.asarray(values, np.float64).reshape(size, size, -1).mean(-1)
        return np.where(self.seen, mean, np.nan)


def places(
    x: Float[np.ndarray, "step inputs"],
    pair: tuple[Feature, Feature],
    size: int = 31,
    neighbours: int = 6,
) -> Places:
    """A grid of `size` by `size` cells over the range that two features have in `x`.

    Raises:
        ValueError: a feature is a choice, which has no axis.
    """
    for feature in pair:
        if len(feature.columns) != 1:
            raise ValueError(f"{feature.name} is a choice of {feature.options}, and has no axis")
    columns = [feature.columns[0] for feature in pair]
    points = np.asarray(x, np.float64)[:, columns]
    low, high = points.min(0), points.max(0)
    span = np.maximum(high - low, 1e-6)
    unit = (points - low) / span
    centres = (np.arange(size) + 0.5) / size
    cells = np.stack([a.ravel() for a in np.meshgrid(centres, centres)], axis=-1)
    distance = np.linalg.norm(cells[:, None] - unit, axis=-1)
    count = min(neighbours, len(unit))
    nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
    rows = np.asarray(x)[nearest.ravel()]
    rows[:, columns] = np.repeat(low + cells * span, count, axis=0)
    density = np.exp(-0.5 * (distance / NEAR) ** 2).sum(1)
    return Places(
        rows.astype(np.float32),
        (density / density.max()).reshape(size, size),
        (distance.min(1) <= NEAR).reshape(size, size),
        (float(low[0]), float(low[0] + span[0]), float(low[1]), float(low[1] + span[1])),
    )


@eqx.filter_jit
def spread(
    belief: Belief,
    family: Shown,
    x: Float[Array, "row inputs"],
    reference: Float[Array, "step inputs"],
) -> Float[Array, " row"]:
    """How far the members of a belief disagree about a step's reward.

    Their weighted standard deviation, in standard deviations of the mean reward over the
    `reference` steps. Answers say nothing of a member's offset, so each is counted from its own
    mean there; and its scale is that of its answers, its sharpness.
    """
    size, sharpness = family.observation_space.size, jnp.reshape(belief.sharpness, (-1, 1))

    def members(x):
        clip = Segment(x[..., None, :size], x[..., None, size:], jnp.zeros((*x.shape[:-1], 1)))
        return sharpness * belief.clip_sums(clip)

    usual = members(reference)
    offset = usual.mean(1, keepdims=True)
    std = jnp.std(belief.weight @ usual)

    def one(x):
        paid = members(x[None]) - offset
        mean = belief.weight @ paid
        return jnp.sqrt(jnp.maximum(belief.weight @ (paid - mean) ** 2, 0.0))[0]

    return jax.lax.map(one, x, batch_size=512) / jnp.maximum(std, 1e-12)
