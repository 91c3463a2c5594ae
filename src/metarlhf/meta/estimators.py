"""Losses of the inner loop, told apart by what their *second* derivatives are.

A meta-gradient differentiates the gradient of the inner loss. All losses here have the policy
gradient as their first derivative, where the policy is the one that collected; their derivatives of
it differ:

- `log_prob_loss` counts how the update changes with the policy on the data as they are (Finn et al.
  2017). It misses that another policy would have collected other data: exploring gets no credit.
  Biased.
- `lvc_loss` counts that too, step by step: low variance curvature (Rothfuss et al. 2019, section
  5). A small bias is left: an action's effect on *later* steps' data is not counted.
- `dice_loss` counts all (Foerster et al. 2018). Unbiased to all orders, and of high
  variance: a check for the others rather than something to learn with.

Losses are means over steps, so `advantage` carries each step's weight (see `Samples`). First-order
MAML is any of them under `stop_gradient`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def log_prob_loss(
    log_prob: Float[Array, "*batch"], advantage: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """-mean(log pi A): the plain score-function loss."""
    return -jnp.mean(log_prob * advantage)


def lvc_loss(
    log_prob: Float[Array, "*batch"],
    collected_log_prob: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
) -> Float[Array, ""]:
    """-mean(pi / pi_collected A); `collected_log_prob` is a constant.

    Where the policy has moved on since it collected, in later epochs of the outer loop, the ratio
    is the importance weight that the moved policy needs.
    """
    return -jnp.mean(jnp.exp(log_prob - collected_log_prob) * advantage)


def dice_loss(
    log_prob: Float[Array, "*batch time"],
    reward: Float[Array, "*batch time"],
    done: Bool[Array, "*batch time"],
    gamma: float = 1.0,
) -> Float[Array, ""]:
    """-mean of sum_t magic(sum_{k<=t} log pi_k) gamma^t r_t, where magic(x) = exp(x - sg(x)).

    Each row is one episode; what stands after its end (`done`) does not count.
    """
    ended_before = jnp.cumsum(done, axis=-1) - done > 0
    past = jnp.cumsum(jnp.where(ended_before, 0.0, log_prob), axis=-1)
    magic = jnp.exp(past - jax.lax.stop_gradient(past))
    discount = gamma ** jnp.arange(reward.shape[-1])
    paid = jnp.where(ended_before, 0.0, discount * reward)
    return -jnp.mean(jnp.sum(magic * paid, axis=-1))
