"""Whether predicted preferences come true as often as they say."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.reward.belief import Belief
from metarlhf.types import Comparison


class Reliability(NamedTuple):
    """A reliability diagram: predictions sorted by how sure they are, into bins of equal width.

    `confidence` is their mean in each bin and `right` how often they came true, both 0 where a bin
    is empty; `weight` is how many predictions it holds.
    """

    confidence: Float[Array, " bin"]
    right: Float[Array, " bin"]
    weight: Float[Array, " bin"]

    @property
    def accuracy(self) -> Float[Array, ""]:
        """Share of the predictions that came true."""
        return jnp.sum(self.weight * self.right) / jnp.maximum(jnp.sum(self.weight), 1.0)

    @property
    def mean_confidence(self) -> Float[Array, ""]:
        """Share that was believed to."""
        return jnp.sum(self.weight * self.confidence) / jnp.maximum(jnp.sum(self.weight), 1.0)

    @property
    def expected_error(self) -> Float[Array, ""]:
        """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, equation 3)."""
        gap = jnp.abs(self.confidence - self.right)
        return jnp.sum(self.weight * gap) / jnp.maximum(jnp.sum(self.weight), 1.0)


def predicted_preferences(belief: Belief, comparisons: Comparison) -> Float[Array, " comparison"]:
    """Probability that the second clip is called better, averaged over the members."""
    difference = belief.clip_sums(comparisons.right) - belief.clip_sums(comparisons.left)
    return belief.weight @ jax.nn.sigmoid(belief.sharpness * difference)


def reliability(
    predicted: Float[Array, " comparison"],
    preference: Float[Array, " comparison"],
    weight: Float[Array, " comparison"],
    bins: int = 10,
) -> Reliability:
    """How sure predictions were, and how often they came true.

    A prediction is as sure as its likelier answer, from 0.5 to 1; which clip was first says
    nothing. `preference` is 1 where the second clip was preferred, 0.5 where neither (then half of
    the prediction came true); a `weight` of 0 leaves a row out.

    Raises:
        ValueError: there is no bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, but is {bins}")
    second = predicted >= 0.5
    sure = jnp.where(second, predicted, 1.0 - predicted)
    true = jnp.where(second, preference, 1.0 - preference)
    number = jnp.clip(jnp.floor((sure - 0.5) * 2.0 * bins).astype(int), 0, bins - 1)
    count = jnp.zeros(bins).at[number].add(weight)
    mean = lambda x: jnp.zeros(bins).at[number].add(x * weight) / jnp.maximum(count, 1e-9)
    return Reliability(mean(sure), mean(true), count)
