"""Advantage estimation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def gae(
    reward: Float[Array, "*batch time"],
    value: Float[Array, "*batch time"],
    next_value: Float[Array, "*batch time"],
    terminated: Bool[Array, "*batch time"],
    truncated: Bool[Array, "*batch time"],
    gamma: float,
    gae_lambda: float,
) -> Float[Array, "*batch time"]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    `next_value[t]` is the value of what followed step t before any reset. A terminated episode is
    worth nothing from there on; a truncated one is worth `next_value`; neither passes anything back
    from the episode that comes after.
    """
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    keep = gamma * gae_lambda * (1.0 - (terminated | truncated))

    def back(advantage, step):
        delta, keep = step
        advantage = delta + keep * advantage
        return advantage, advantage

    time_first = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), (delta, keep))
    _, advantages = jax.lax.scan(back, jnp.zeros(delta.shape[:-1]), time_first, reverse=True)
    return jnp.moveaxis(advantages, 0, -1)
