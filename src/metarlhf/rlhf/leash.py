"""A leash: what a policy is paid less for each step that a reference policy would hardly take.

A learned reward is known where the reference went. The further a policy is from there, the less the
reward is worth, and the further it can be led astray.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.networks import Actor
from metarlhf.types import Trajectory

# Ziegler et al. have a tenth of it, for thousands of updates; here there are tens or hundreds.
GAIN = 1.0
START = 0.1
"""What a nat costs at first, in standard deviations of a step's reward."""


class Leash(eqx.Module):
    """A penalty on KL(policy || reference) whose size follows from how far it is.

    Ziegler et al. 2019, "Fine-tuning language models from human preferences", section 2.2: each
    action costs `coefficient` times log policy(a|s) - log reference(a|s), the mean of which is the
    divergence per step; the coefficient rises while that is above its target, and falls below it.
    """

    reference: Actor
    coefficient: Float[Array, ""]
    kl: Float[Array, ""]
    """How far the policy was from the reference when it last played, in nats a step."""

    @staticmethod
    def on(reference: Actor) -> "Leash":
        """A leash to `reference`, as loose as it is at first."""
        return Leash(reference, jnp.full((), START, jnp.float32), jnp.zeros((), jnp.float32))

    def pay(self, trajectory: Trajectory, target: float) -> tuple[Trajectory, "Leash"]:
        """What is left of the reward, and the leash for the next update.

        A policy with a memory is taken to remember, at the first step, what the reference would.
        """
        said = self.reference.over(trajectory.obs, trajectory.memory, trajectory.done)
        strayed = trajectory.log_prob - said.log_prob(trajectory.action)
        # Shared out, so that what is paid is of the same size however dear it is to stray.
        paid = (trajectory.reward - self.coefficient * strayed) / (1.0 + self.coefficient)
        paid = trajectory.with_reward(paid)
        kl = strayed.mean()
        error = jnp.clip(kl / target - 1.0, -0.2, 0.2)
        coefficient = jnp.clip(self.coefficient * (1.0 + GAIN * error), 1e-3, 1e3)
        return paid, Leash(self.reference, coefficient, kl)

    def told(self, context: Float[Array, " context"]) -> "Leash":
        """The same, with a reference that is told something else about the task."""
        return eqx.tree_at(lambda leash: leash.reference.body.context, self, context)
