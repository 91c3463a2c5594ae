"""A reward over two features: only where steps were observed, and how uncertain it is there."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from metarlhf.envs.base import Shown
from metarlhf.explain.rewards import BeliefReward, Feature, RewardOfInputs
from metarlhf.explain.steps import DISTANCE_STEPS, evenly_spaced
from metarlhf.reward import Belief, Learned
from metarlhf.types import Segment

# Of a feature's range: what is farther from every observed step is taken as unknown.
NEAR = 0.04


class Map(NamedTuple):
    """Rewards over two features [y, x], NaN where no step was observed."""

    features: tuple[Feature, Feature]
    extent: tuple[float, float, float, float]
    """Lowest and highest x, lowest and highest y, in the features' units."""
    rewards: dict[str, np.ndarray]
    """By "before", "after" and, where there is one, "true"; each in its standard deviations."""
    disagreement: dict[str, np.ndarray]
    """Of the belief's members, "before" and "after", in the same unit."""
    density: np.ndarray
    """How often a place was observed, 1 at most."""
    forbidden: np.ndarray | None = None
    """Probability that a step is forbidden, where a cost model was learned."""


class Grid(NamedTuple):
    """A grid over two features, on observed steps."""

    rows: Float[np.ndarray, "row inputs"]
    """For each cell the `neighbours` nearest steps, moved into it: their other inputs stay, so
    that features which depend on one another are not torn apart more than need be."""
    density: Float[np.ndarray, "size size"]
    """How often a cell was observed, smoothed; 1 in the most visited one. Indexed [y, x]."""
    observed: Bool[np.ndarray, "size size"]
    """Whether anything near the cell was observed."""
    extent: tuple[float, float, float, float]
    """Lowest and highest x, lowest and highest y, as inputs."""

    def average(self, values: np.ndarray) -> Float[np.ndarray, "size size"]:
        """One number for each cell of one for each row; NaN where nothing was observed."""
        size = self.observed.shape[0]
        mean = np.asarray(values, np.float64).reshape(size, size, -1).mean(-1)
        return np.where(self.observed, mean, np.nan)


def grid(
    x: Float[np.ndarray, "step inputs"],
    pair: tuple[Feature, Feature],
    size: int = 31,
    neighbours: int = 6,
) -> Grid:
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
    return Grid(
        rows.astype(np.float32),
        (density / density.max()).reshape(size, size),
        (distance.min(1) <= NEAR).reshape(size, size),
        (float(low[0]), float(low[0] + span[0]), float(low[1]), float(low[1] + span[1])),
    )


@eqx.filter_jit
def disagreement(
    belief: Belief,
    family: Shown,
    x: Float[Array, "row inputs"],
    reference: Float[Array, "step inputs"],
) -> Float[Array, " row"]:
    """How far the members of a belief disagree about a step's reward.

    Their weighted standard deviation, in standard deviations of the mean reward over the
    `reference` steps. Answers do not determine a member's offset, so each is counted from its own
    mean there; and its scale is that of its answers, its sharpness.
    """
    size, sharpness = family.observation_space.size, jnp.reshape(belief.sharpness, (-1, 1))

    def members(x):
        clip = Segment(x[..., None, :size], x[..., None, size:], jnp.zeros((*x.shape[:-1], 1)))
        return sharpness * belief.clip_sums(clip)

    baseline = members(reference)
    offset = baseline.mean(1, keepdims=True)
    std = jnp.std(belief.weight @ baseline)

    def one(x):
        reward = members(x[None]) - offset
        mean = belief.weight @ reward
        return jnp.sqrt(jnp.maximum(belief.weight @ (reward - mean) ** 2, 0.0))[0]

    return jax.lax.map(one, x, batch_size=512) / jnp.maximum(std, 1e-12)


def reward_map(
    x: Float[np.ndarray, "step inputs"],
    pair: tuple[Feature, Feature],
    rewards: dict[str, RewardOfInputs],
    scales: dict[str, tuple[float, float]],
    learned: Learned,
    family: Shown,
) -> Map:
    """The rewards over a pair of features.

    Args:
        x: observed steps.
        pair: what is along the horizontal and the vertical axis.
        rewards: by name.
        scales: mean and standard deviation of each reward over `x`.
        learned: beliefs before and after the answers, and the cost model.
        family: what the steps are of.
    """
    cells = grid(x, pair)
    rows = jnp.asarray(cells.rows)
    values = lambda reward: np.asarray(eqx.filter_jit(reward)(rows))
    drawn = {
        name: cells.average((values(rewards[name]) - mean) / std)
        for name, (mean, std) in scales.items()
    }
    reference = jnp.asarray(x[evenly_spaced(len(x), DISTANCE_STEPS)])
    uncertain = {
        name: cells.average(np.asarray(disagreement(belief, family, rows, reference)))
        for name, belief in (("before", learned.before), ("after", learned.after))
    }
    forbidden = None
    if learned.cost is not None:
        forbidden = cells.average(values(RewardOfInputs(BeliefReward(learned.cost), family)))
    ends = np.reshape(cells.extent, (2, 2))
    across, up = (pair[i].in_units(ends[i]).tolist() for i in (0, 1))
    return Map(pair, (*across, *up), drawn, uncertain, cells.density, forbidden)
