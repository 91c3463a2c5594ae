"""Simulated teachers: what they are asked about is the task's true reward, which they alone see.

After B-Pref (Lee et al. 2021, section 3): an answer depends on the undiscounted sums (skip, equal),
on the discounted ones (myopic), on chance (noisy) and on slips (mistake), in that order. Two things
differ on purpose. Thresholds and temperature are relative to the *spread* of the sums that the
teacher has seen, since B-Pref's (relative to the mean return) switch themselves off where rewards
are costs; and a skipped question costs nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from metarlhf.feedback.config import Teacher


class Scale(NamedTuple):
    """What the teacher is used to: mean and standard deviation of sums of clips seen lately."""

    mean: Float[Array, ""]
    spread: Float[Array, ""]

    @staticmethod
    def of(
        task_reward: Float[Array, "clip length"], seen: Bool[Array, " clip"] | None = None
    ) -> "Scale":
        """The scale of a set of clips, or of those that were `seen`."""
        sums = task_reward.sum(-1)
        return Scale(jnp.mean(sums, where=seen), jnp.std(sums, where=seen) + 1e-6)


def compare(
    teacher: Teacher,
    key: PRNGKeyArray,
    left: Float[Array, "*batch length"],
    right: Float[Array, "*batch length"],
    scale: Scale,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Which clip is better, from their true rewards.

    Returns the preference for the right one (0, 1, or 0.5 for equal) and the answer's weight
    (0 where the question was skipped).
    """
    choice_key, slip_key = jax.random.split(key)
    left_sum, right_sum = left.sum(-1), right.sum(-1)
    length = left.shape[-1]
    recency = teacher.myopic ** jnp.arange(length - 1, -1, -1, dtype=jnp.float32)
    difference = ((right - left) * recency).sum(-1) / scale.spread
    if teacher.beta == float("inf"):
        prefers_right = difference > 0  # what is exactly alike is called equal below
    else:
        chance = jax.nn.sigmoid(teacher.beta * difference)
        prefers_right = jax.random.uniform(choice_key, difference.shape) < chance
    slipped = jax.random.uniform(slip_key, difference.shape) < teacher.mistake
    preference = (prefers_right ^ slipped).astype(jnp.float32)
    equal = jnp.abs(right_sum - left_sum) < teacher.equal * scale.spread
    if teacher.beta == float("inf"):
        # Who never errs has no reason to say either; always "left" would be a bias.
        equal = equal | (difference == 0)
    preference = jnp.where(equal, 0.5, preference)
    # "Poor" is counted from three spreads below the mean, the worst that is seen.
    poor = scale.mean - 3.0 * (1.0 - teacher.skip) * scale.spread
    skipped = (jnp.maximum(left_sum, right_sum) < poor) & (teacher.skip > 0)
    return preference, 1.0 - skipped.astype(jnp.float32)


def rate(
    teacher: Teacher,
    key: PRNGKeyArray,
    segment: Float[Array, "*batch length"],
    bounds: tuple[float, float],
) -> Float[Array, "*batch"]:
    """A mark from 1 to `teacher.levels`: where the mean reward stands between `bounds`.

    A slip (`mistake`) is one level up or down.
    """
    low, high = bounds
    position = (segment.mean(-1) - low) / (high - low)
    slip_key, side_key = jax.random.split(key)
    slipped = jax.random.uniform(slip_key, position.shape) < teacher.mistake
    side = jnp.where(jax.random.bernoulli(side_key, shape=position.shape), 1.0, -1.0)
    mark = 1.0 + jnp.floor(teacher.levels * position) + jnp.where(slipped, side, 0.0)
    return jnp.clip(mark, 1.0, float(teacher.levels))
