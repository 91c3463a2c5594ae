"""Which of all steps that were seen are looked at."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from metarlhf.envs.base import Shown
from metarlhf.explain.distances import Transitions
from metarlhf.explain.rewards import inputs_of
from metarlhf.reward import Learned

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
