"""Cutting trajectories into clips that a person can judge.

Clips kept from earlier tasks, to ask about a new one before anything was done in it.

Answers kept in arrays of fixed size, so that asking can be part of a compiled program.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from metarlhf.envs.base import Discrete, Shown, TaskFamily
from metarlhf.types import Comparison, Feedback, Rating, Segment, Task, Trajectory


def blank(family: Shown, count: int) -> Segment:
    """Room for `count` clips of the family."""
    shape = (count, family.segment_length)
    space = family.action_space
    if isinstance(space, Discrete):
        action = jnp.zeros(shape, jnp.int32)
    else:
        action = jnp.zeros((*shape, space.size))
    return Segment(jnp.zeros((*shape, family.observation_space.size)), action, jnp.zeros(shape))


def cut(trajectory: Trajectory, length: int, stride: int) -> tuple[Segment, Bool[Array, " clip"]]:
    """Every clip of `length` steps that starts at a multiple of `stride`.

    `trajectory` has dimensions (env, time). Returns the clips of all environments in one leading
    dimension, and which of them lie within a single episode: only those may be shown.
    """
    num_steps = trajectory.reward.shape[1]
    if length > num_steps:
        raise ValueError(f"clips of {length} steps cannot be cut from {num_steps} steps")
    starts = jnp.arange(0, num_steps - length + 1, stride)
    steps = starts[:, None] + jnp.arange(length)
    take = lambda x: x[:, steps].reshape(-1, length, *x.shape[2:])
    clips = jax.tree.map(take, Segment(trajectory.obs, trajectory.action, trajectory.task_reward))
    # An episode may end with a clip's last step, not before.
    within_one = ~take(trajectory.done)[:, :-1].any(axis=1)
    return clips, within_one


def among(clips: Segment, others: Segment, weight: Float[Array, " other"]) -> Bool[Array, " clip"]:
    """Which clips are among those of `others` that weigh something."""
    return jnp.any(_same(clips, others) & (weight > 0), axis=-1)


def compared(left: Segment, right: Segment, asked: Comparison) -> Bool[Array, " pair"]:
    """Which pairs are among what was `asked`, either way round."""
    again = _same(left, asked.left) & _same(right, asked.right)
    again |= _same(left, asked.right) & _same(right, asked.left)
    return jnp.any(again & (asked.weight > 0), axis=-1)


def _same(clips: Segment, others: Segment) -> Bool[Array, "clip other"]:
    """Which clip is which: told by how they begin and end."""
    ends = lambda segment: segment.obs[:, jnp.array([0, -1])]
    return jnp.all(ends(clips)[:, None] == ends(others), axis=(-2, -1))


class Library(eqx.Module):
    """Clips, with what followed each of their steps: a teacher watches, it does not guess."""

    clips: Segment
    next_obs: Float[Array, "clip length obs"]

    @staticmethod
    def blank(family: TaskFamily, count: int) -> "Library":
        """Room for `count` clips of `family`; none is a library, too."""
        clips = blank(family, count)
        return Library(clips, clips.obs)

    def __len__(self) -> int:
        return self.next_obs.shape[0]

    def __getitem__(self, index: Array) -> "Library":
        return jax.tree.map(lambda x: x[index], self)

    def seen_under(self, family: TaskFamily, task: Task) -> Segment:
        """The clips with what `task` pays for them, whichever task they were recorded under.

        That is for a simulated teacher, and for it alone.
        """
        if not len(self):
            return self.clips  # also of families where nobody could say
        action = family.action_space.from_unit(self.clips.action)
        per_step = jax.vmap(jax.vmap(family.reward, (0, 0, 0, None)), (0, 0, 0, None))
        paid = per_step(self.clips.obs, action, self.next_obs, task)
        return eqx.tree_at(lambda clips: clips.task_reward, self.clips, paid)


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
