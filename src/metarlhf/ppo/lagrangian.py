"""A limit on a second signal, a cost, held by what it is charged."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.types import Trajectory

# Dear at first, while a policy still tries things: one that has settled on the way through finds no
# way round any more.
START = 10.0
# How much dearer cost gets in an update in which there is twice as much as the limit, or more.
RATE = 1.0
# It gets cheaper more slowly: a limit that is just held would soon be broken again.
CHEAPER = 0.1


class Multiplier(eqx.Module):
    """The Lagrangian of `maximise reward while the mean cost of a step is at most a limit`.

    A step that costs c is paid r - m c, by one value function for both (Tessler et al. 2019,
    "Reward constrained policy optimization"; Ray et al. 2019, "Benchmarking safe exploration in
    deep reinforcement learning", have one for each, whose difference is the same). The multiplier m
    climbs by the gradient, the cost beyond the limit, in units of the limit, and is never negative.
    """

    value: Float[Array, ""]

    @staticmethod
    def start() -> "Multiplier":
        """What a step costs is charged `START` times."""
        return Multiplier(jnp.full((), START, jnp.float32))

    def pay(
        self,
        trajectory: Trajectory,
        cost: Float[Array, "*batch time"],
        limit: float | Float[Array, ""],
    ) -> tuple[Trajectory, "Multiplier"]:
        """What is left of the reward where steps cost so much, and the multiplier after that.

        What is paid is shared out (divided by 1 + m), so that it stays of one size.
        """
        paid = (trajectory.reward - self.value * cost) / (1.0 + self.value)
        beyond = jnp.clip(cost.mean() / limit - 1.0, -CHEAPER / RATE, 1.0)
        value = jnp.maximum(self.value + RATE * beyond, 0.0)
        return trajectory.with_reward(paid), Multiplier(value)
