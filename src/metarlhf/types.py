"""The data that flows through the system: pytrees with shapes, and nothing else.

Leading dimensions are free (`...`): a `Trajectory` may hold one episode, a batch of environments or
a batch of tasks of such batches. `time` is always the last of them, before the features.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PyTree, Shaped

# A task is a value: a pytree of arrays that `reset` and `step` of an environment take.
Task = Any
# The state of a simulator, a policy or an optimiser: a pytree that only its owner looks into.
State = Any


# What an agent sees: a vector, an image, or a dictionary of those; leading dimensions are free.
Observation = PyTree[Shaped[Array, "..."]]


class Trajectory(eqx.Module):
    """What an agent saw, did and got, step by step.

    `next_obs[t]` is what followed `action[t]` *before* any reset, so that an episode cut short by a
    time limit can bootstrap from the value of its final observation.

    `reward` is what the agent learns from; `task_reward` is what the environment paid, which only
    simulated teachers and evaluation may read. They are equal until a reward model relabels.
    """

    obs: Observation
    action: Shaped[Array, "..."]
    log_prob: Float[Array, "*batch time"]
    next_obs: Observation
    reward: Float[Array, "*batch time"]
    task_reward: Float[Array, "*batch time"]
    terminated: Bool[Array, "*batch time"]
    truncated: Bool[Array, "*batch time"]
    memory: State = None
    """What a recurrent policy remembered at the first step, without a dimension for time."""

    @property
    def done(self) -> Bool[Array, "*batch time"]:
        """The episode ended with this step, for whichever reason."""
        return self.terminated | self.truncated

    def with_reward(self, reward: Float[Array, "*batch time"]) -> "Trajectory":
        """The same trajectory, paid differently; `task_reward` stays what the environment paid."""
        return eqx.tree_at(lambda t: t.reward, self, reward)


class Segment(eqx.Module):
    """A short clip: what a person is shown, and what a reward model sums over."""

    obs: Float[Array, "*batch length obs"]
    action: Shaped[Array, "..."]
    task_reward: Float[Array, "*batch length"]

    def __getitem__(self, index: Any) -> "Segment":
        """Select along the leading dimension of every field."""
        return jax.tree.map(lambda x: x[index], self)


class Comparison(eqx.Module):
    """Answers to "which of these two do you like better?".

    `preference` is the probability that the second is preferred: 0 left, 1 right, 0.5 equal.
    `weight` is 1 for an answer and 0 for a question that was skipped or never asked, so that stores
    of fixed size can be part of a compiled program. `annotator` is the number of who answered; all
    answers are one person's unless that is said.
    """

    left: Segment
    right: Segment
    preference: Float[Array, "*batch"]
    weight: Float[Array, "*batch"]
    annotator: Integer[Array, "*batch"]

    def __init__(
        self,
        left: Segment,
        right: Segment,
        preference: Float[Array, "*batch"],
        weight: Float[Array, "*batch"],
        annotator: Integer[Array, "*batch"] | None = None,
    ):
        self.left, self.right, self.preference, self.weight = left, right, preference, weight
        one = annotator is None
        self.annotator = jnp.zeros(preference.shape, jnp.int32) if one else annotator


class Rating(eqx.Module):
    """Marks for segments: `value` in {1, ..., levels}, higher is better; `weight` as above.

    Each mark says of how many levels it is one, as who gives marks chooses the scale.
    """

    segment: Segment
    value: Float[Array, "*batch"]
    levels: Float[Array, "*batch"]
    weight: Float[Array, "*batch"]


class Feedback(eqx.Module):
    """All that a person has said about one task so far; either part may be empty (length 0)."""

    comparisons: Comparison
    ratings: Rating

    @property
    def count(self) -> Integer[Array, ""] | Float[Array, ""]:
        """Number of answers given, skips not counted."""
        return self.comparisons.weight.sum() + self.ratings.weight.sum()
