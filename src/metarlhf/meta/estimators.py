"""Losses of the inner loop, told apart by what their *second* derivatives are.

A meta-gradient differentiates the gradient of the inner loss. All losses here have the policy
gradient as their first derivative, where the policy is the one that collected; their derivatives of
it differ. All that holds without discounting: where there is some, `dice_loss` has the gradient of
the discounted return itself, in which a step counts the less the later it is, and the others leave
that factor out, as policy gradients commonly do.

- `log_prob_loss` counts how the update changes with the policy on the data as they are (Finn et al.
  2017). It misses that another policy would have collected other data: exploring gets no credit.
  Biased.
- `lvc_loss` counts that too, step by step: low variance curvature (Rothfuss et al. 2019, section
  5). A small bias is left: an action's effect on *later* steps' data is not counted.
- `dice_loss` counts all (Foerster et al. 2018). Unbiased to all orders, and of high variance, as it
  knows no baseline.
- `loaded_dice_loss` counts all by advantages (Farquhar et al. 2019), or the less of what is far off
  the smaller its decay: from `lvc_loss`'s variance at 0 to `dice_loss`'s bias, none, at 1 (and
  with no discount).

Losses are means over steps, so `advantage` carries each step's weight (see `Samples`). First-order
MAML is any of them under `stop_gradient`. Benchmark `estimators`: each one's bias and deviation.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
    log_prob: Float[Array, "*batch time"], paid: Float[Array, "*batch time"]
) -> Float[Array, ""]:
    """-mean(magic(sum_{k<=t} log pi_k) r_t), where magic(x) = exp(x - sg(x)).

    Each row is one episode; `paid` is the discounted reward, zero after the episode's end.
    """
    return -jnp.mean(_magic(jnp.cumsum(log_prob, axis=-1)) * paid)


def loaded_dice_loss(
    log_prob: Float[Array, "*batch time"], advantage: Float[Array, "*batch time"], decay: float
) -> Float[Array, ""]:
    """-mean((magic(s_t) - magic(s_t - log pi_t)) A_t), with s_t = sum_{k<=t} decay^{t-k} log pi_k.

    Each row is one episode; `advantage` is zero after its end. Loaded DiCE (Farquhar et al. 2019):
    `decay` 1 counts an action's effect on all later steps, 0 on none, which is `lvc_loss`.
    """

    def step(before, now):
        past = decay * before + now
        return past, past

    by_time = jnp.moveaxis(log_prob, -1, 0)
    _, past = jax.lax.scan(step, jnp.zeros_like(by_time[0]), by_time)
    past = jnp.moveaxis(past, 0, -1)
    return -jnp.mean((_magic(past) - _magic(past - log_prob)) * advantage)


def _magic(x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """One, whose derivatives are those of what led to it."""
    return jnp.exp(x - jax.lax.stop_gradient(x))
