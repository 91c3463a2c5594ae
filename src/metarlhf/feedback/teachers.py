"""Simulated teachers: what they are asked about is the task's true reward, which they alone see.

After B-Pref (Lee et al. 2021, section 3): an answer depends on the undiscounted sums (skip, equal),
on the discounted ones (myopic), on chance (noisy) and on slips (mistake), in that order. Two things
differ on purpose. Thresholds and temperature are relative to the *spread* of the sums that the
teacher has seen, since B-Pref's (relative to the mean return) switch themselves off where rewards
are costs; and a skipped question costs nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray


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


@dataclass(frozen=True)
class Teacher:
    """How a simulated person answers. The default is an oracle."""

    beta: float = float("inf")
    """Rationality: P(right) = sigmoid(beta * (right - left) / spread). Infinite: never errs."""
    mistake: float = 0.0
    """Probability of a flipped answer."""
    skip: float = 0.0
    """Skip a question if both clips are poor: 0 never, 1 wherever both are below the mean."""
    equal: float = 0.0
    """Call two clips equal if their sums differ by less than this many spreads."""
    myopic: float = 1.0
    """Weight of a step against the one after it: below 1 the end of a clip counts most."""
    levels: int = 10
    """Marks go from 1 to this."""

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be above 0, but is {self.beta}")
        for name in ("mistake", "skip", "myopic"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, but is {getattr(self, name)}")
        if not self.equal >= 0:
            raise ValueError(f"equal must be 0 or more, but is {self.equal}")
        if self.levels < 2:
            raise ValueError(f"levels must be 2 or more, but is {self.levels}")

    @property
    def only_compares(self) -> tuple[str, ...]:
        """What of this teacher is about comparisons alone, and does not show in marks."""
        default = Teacher()
        names = ("beta", "skip", "equal", "myopic")
        return tuple(name for name in names if getattr(self, name) != getattr(default, name))

    def compare(
        self,
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
        recency = self.myopic ** jnp.arange(length - 1, -1, -1, dtype=jnp.float32)
        difference = ((right - left) * recency).sum(-1) / scale.spread
        if self.beta == float("inf"):
            prefers_right = difference > 0  # what is exactly alike is called equal below
        else:
            chance = jax.nn.sigmoid(self.beta * difference)
            prefers_right = jax.random.uniform(choice_key, difference.shape) < chance
        slipped = jax.random.uniform(slip_key, difference.shape) < self.mistake
        preference = (prefers_right ^ slipped).astype(jnp.float32)
        equal = jnp.abs(right_sum - left_sum) < self.equal * scale.spread
        if self.beta == float("inf"):
            # Who never errs has no reason to say either; always "left" would be a bias.
            equal = equal | (difference == 0)
        preference = jnp.where(equal, 0.5, preference)
        # "Poor" is counted from three spreads below the mean, the worst that is seen.
        poor = scale.mean - 3.0 * (1.0 - self.skip) * scale.spread
        skipped = (jnp.maximum(left_sum, right_sum) < poor) & (self.skip > 0)
        return preference, 1.0 - skipped.astype(jnp.float32)

    def rate(
        self,
        key: PRNGKeyArray,
        segment: Float[Array, "*batch length"],
        bounds: tuple[float, float],
    ) -> Float[Array, "*batch"]:
        """A mark from 1 to `levels`: where the mean reward stands between `bounds`.

        A slip (`mistake`) is one level up or down.
        """
        low, high = bounds
        position = (segment.mean(-1) - low) / (high - low)
        slip_key, side_key = jax.random.split(key)
        slipped = jax.random.uniform(slip_key, position.shape) < self.mistake
        side = jnp.where(jax.random.bernoulli(side_key, shape=position.shape), 1.0, -1.0)
        mark = 1.0 + jnp.floor(self.levels * position) + jnp.where(slipped, side, 0.0)
        return jnp.clip(mark, 1.0, float(self.levels))


TEACHERS: dict[str, Teacher] = {
    "oracle": Teacher(),
    "mistake": Teacher(mistake=0.1),
    "noisy": Teacher(beta=1.0),
    "skip": Teacher(skip=0.1),
    "equal": Teacher(equal=0.1),
    "myopic": Teacher(myopic=0.9),
}
"""B-Pref's six, by the names of its scripts."""
