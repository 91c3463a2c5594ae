"""Answers kept in arrays of fixed size, so that asking can be part of a compiled program."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from metarlhf.types import Comparison, Feedback, Rating, Segment


def empty(clip: Segment, comparisons: int, ratings: int) -> Feedback:
    """Room for so many answers about clips shaped like `clip` (one clip, no leading dimension)."""
    room = lambda n: jax.tree.map(lambda x: jnp.zeros((n, *x.shape), x.dtype), clip)
    nothing = jnp.zeros(comparisons)
    return Feedback(
        Comparison(room(comparisons), room(comparisons), nothing, nothing),
        Rating(room(ratings), jnp.zeros(ratings), jnp.ones(ratings), jnp.zeros(ratings)),
    )


def _put(store, index, item):
    # What has no rows cannot be indexed, not even beyond its end.
    put = lambda rows, row: rows.at[index].set(row) if rows.shape[0] else rows
    return jax.tree.map(put, store, item)


def record_comparison(
    feedback: Feedback,
    index: int | Integer[Array, ""],
    left: Segment,
    right: Segment,
    preference: Float[Array, ""],
    weight: Float[Array, ""],
) -> Feedback:
    """Keep the answer to question `index`. Past the last row nothing is kept."""
    answer = Comparison(left, right, preference, weight)
    return Feedback(_put(feedback.comparisons, index, answer), feedback.ratings)


def record_rating(
    feedback: Feedback,
    index: int | Integer[Array, ""],
    segment: Segment,
    value: Float[Array, ""],
    levels: int,
    weight: Float[Array, ""],
) -> Feedback:
    """Keep the mark given to question `index`, one of 1 to `levels`."""
    mark = Rating(segment, value, jnp.full((), levels, jnp.float32), weight)
    return Feedback(feedback.comparisons, _put(feedback.ratings, index, mark))
