"""A reward over two features: only where something was seen, and with how sure it is.

Which of all steps that were seen are looked at.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from metarlhf.envs.base import Shown
from metarlhf.explain.distances import Transitions
from metarlhf.explain.rewards import Feature, inputs_of
from metarlhf.reward import Belief, Learned
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


# Steps that distances are taken over; and that all else looks at, at most.
COMPARED, LOOKED_AT = 512, 4000
# Neighbours are of one trajectory, so what a fit is judged by are blocks of steps, every so many.
BLOCK, EVERY = 20, 4


def seen(
    learned: Learned, family: Shown, played: Transitions | None
) -> Float[Array, "step inputs"]:
    """Steps that were asked about, could have been, or that the agent takes, as inputs."""
    # By NumPy: op by op, JAX would compile a program for each of the sizes.
    clips, feedback, played = jax.device_get((learned.seen, learned.feedback, played))
    comparisons, ratings = feedback.comparisons, feedback.ratings
    said, marked = comparisons.weight > 0, ratings.weight > 0
    parts = [
        (comparisons.left.obs[said], comparisons.left.action[said]),
        (comparisons.right.obs[said], comparisons.right.action[said]),
        (ratings.segment.obs[marked], ratings.segment.action[marked]),
        (clips.obs, clips.action),
    ]
    if played is not None:
        parts.append((played.obs[~played.ended][None], played.action[~played.ended][None]))
    flat = [[x.reshape(-1, *x.shape[2:]) for x in part] for part in parts]
    obs, action = (np.concatenate(arrays) for arrays in zip(*flat, strict=True))
    chosen = spread_out(len(obs), LOOKED_AT)
    return jnp.asarray(inputs_of(family, obs[chosen], action[chosen]))


def newest(learned: Learned) -> Transitions:
    """The newest clip, as if it were an episode of which nothing else is known."""
    clip = jax.tree.map(lambda x: x[:1], learned.seen)
    ended = jnp.zeros(clip.obs.shape[:2], bool)
    return Transitions(clip.obs, clip.action, clip.obs, None, None, ended)


def spread_out(length: int, count: int) -> Integer[np.ndarray, " chosen"]:
    """Numbers of at most `count` of so many steps, evenly spaced."""
    return np.linspace(0, length - 1, min(count, length)).astype(int)


def spaced(x: Float[Array, "step inputs"], count: int) -> Float[Array, "chosen inputs"]:
    """Such steps of `x`."""
    return jnp.asarray(np.asarray(x)[spread_out(len(x), count)])


def transitions(*episodes: Transitions) -> Transitions:
    """Steps of all episodes, evenly spaced, until they were over."""
    flat = [
        jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.device_get(one)) for one in episodes
    ]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *flat)
    alive = np.flatnonzero(~joined.ended)
    chosen = alive[spread_out(len(alive), COMPARED)]
    return jax.tree.map(lambda x: jnp.asarray(x[chosen]), joined)


def held_out(count: int) -> tuple[Bool[np.ndarray, " step"], Bool[np.ndarray, " step"]]:
    """Which of so many steps are fitted to, and by which a fit is judged: a quarter, apart from
    those. Of less than four, all are both.
    """
    block = max(1, min(BLOCK, count // EVERY))
    judged = np.arange(count) // block % EVERY == EVERY - 1
    return (~judged, judged) if judged.any() else (~judged, ~judged)


def share_told(value: Float[np.ndarray, " step"], told: Float[np.ndarray, " step"]) -> float:
    """Share of the variance of `value` that is told (R²)."""
    return 1 - float(np.mean((value - told) ** 2) / max(np.var(value), 1e-12))
