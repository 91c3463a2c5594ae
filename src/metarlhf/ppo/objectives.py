"""What may take the place of clipping: a drift, a penalty on the KL, or a hard bound on it.

The bound is that of trust-region policy optimisation: a natural-gradient step, found by conjugate
gradients, and shortened until the KL is within it.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

DAMPING, CG_STEPS = 0.1, 10
SHRINK, TRIALS = 0.8, 15

Params = TypeVar("Params")
Outputs = TypeVar("Outputs")
Metrics = dict[str, Float[Array, ""]]


@runtime_checkable
class Drift(Protocol):
    """What a policy is charged for moving, in the place of clipping (Lu et al. 2022)."""

    def __call__(
        self, log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float
    ) -> Float[Array, "*batch"]:
        """Never negative; zero, with zero slope, where old and new policy agree."""
        ...


def discovered_surrogate(
    log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """-mean(r A - d), d being the drift of discovered policy optimisation.

    The closed form of a drift that was meta-learned (Lu et al. 2022, section 6): zero where a step
    is undone, next to zero near r = 1, more and more beyond. Good actions are measured by r - 1,
    bad ones by log r.
    """
    ratio = jnp.exp(log_ratio)
    excess = lambda x, width: jnp.maximum(x - width * jnp.tanh(x / width), 0.0)
    good = excess((ratio - 1.0) * advantage, 2.0)
    bad = excess(log_ratio * advantage, 0.6)
    drift = jnp.where(advantage >= 0, good, bad)
    return -jnp.mean(ratio * advantage - drift)


def drifting_surrogate(
    log_ratio: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    clip: float,
    drift: Drift,
) -> Float[Array, ""]:
    """-mean(r A - d) with any drift d: mirror learning (Lu et al. 2022)."""
    return -jnp.mean(jnp.exp(log_ratio) * advantage - drift(log_ratio, advantage, clip))


def kl_penalised_surrogate(
    log_ratio: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    kl: Float[Array, "*batch"],
    coefficient: Float[Array, ""],
) -> Float[Array, ""]:
    """-mean(r A) + b mean(KL(old || new)): Schulman et al. 2017, equation 8."""
    return -jnp.mean(jnp.exp(log_ratio) * advantage) + coefficient * jnp.mean(kl)


def fisher_products(
    outputs: Callable[[Params], Outputs],
    divergence: Callable[[Outputs], Float[Array, ""]],
    params: Params,
) -> Callable[[Params], Params]:
    """V -> F v, with F the Hessian of `divergence(outputs(params))`, at its minimum.

    There a divergence has no gradient, and its Hessian is J^T H J: J the Jacobian of `outputs`, H
    the Hessian of `divergence` (of policies that is their Fisher information). J is found once, so
    a product takes a linear map, and its transpose, and no more.
    """
    at, forward = jax.linearize(outputs, params)
    backward = jax.linear_transpose(forward, params)
    hessian = lambda v: jax.jvp(jax.grad(divergence), (at,), (v,))[1]
    return lambda v: backward(hessian(forward(v)))[0]


def constrained_step(
    params: Params,
    surrogate: tuple[Float[Array, ""], Params],
    fisher: Callable[[Params], Params],
    surrogate_and_kl: Callable[[Params], tuple[Float[Array, ""], Float[Array, ""]]],
    bound: float,
) -> tuple[Params, Metrics]:
    """`params` after one step (Schulman et al. 2015, section 6 and appendix C).

    `surrogate` is what there is to gain, and its gradient g, at `params`; `surrogate_and_kl` says
    what other parameters would gain, and how far in nats they are from `params`. The direction s
    solves F s = g by conjugate gradients, with F damped, whose products are `fisher`'s. Its length
    is what KL = `bound` allows to second order, shrunk until the surrogate is better and the KL,
    exactly computed, is within `bound`; if no trial is, all stays.

    F may be of a part of the data, which is where the time goes (appendix C.1). The bound is held
    on all of them.
    """
    flat, unflatten = ravel_pytree(params)
    before, gradient = surrogate
    product = lambda v: ravel_pytree(fisher(unflatten(v)))[0] + DAMPING * v
    direction, _ = cg(product, ravel_pytree(gradient)[0], maxiter=CG_STEPS)
    curvature = jnp.maximum(direction @ product(direction), 1e-12)
    whole = jnp.sqrt(2 * bound / curvature) * direction

    def trial(carry):
        tried, _ = carry
        after, kl = surrogate_and_kl(unflatten(flat + SHRINK**tried * whole))
        good = (after > before) & (kl <= bound) & jnp.isfinite(after)
        return tried + 1, (after, kl, good)

    start = (jnp.zeros((), jnp.int32), (before, jnp.zeros(()), jnp.zeros((), bool)))
    tried, (after, kl, accepted) = jax.lax.while_loop(
        lambda carry: ~carry[1][2] & (carry[0] < TRIALS), trial, start
    )
    best = jnp.where(accepted, flat + SHRINK ** (tried - 1) * whole, flat)
    return unflatten(best), {
        "kl": jnp.where(accepted, kl, 0.0),
        "surrogate": jnp.where(accepted, after, before),
        "accepted": accepted.astype(float),
    }
