"""Trust-region policy optimisation: a natural-gradient step within a hard bound on the KL."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from metarlhf.networks import Actor
from metarlhf.ppo.batch import Batch

DAMPING, CG_STEPS = 0.1, 10
SHRINK, TRIALS = 0.8, 15

Params = TypeVar("Params")
Outputs = TypeVar("Outputs")
Metrics = dict[str, Float[Array, ""]]


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


def natural_step(
    actor: Actor,
    batch: Batch,
    advantage: Float[Array, "row *time"],
    bound: float,
    entropy_coefficient: float = 0.0,
) -> tuple[Actor, Metrics]:
    """The policy after one step within `bound` nats, by the whole batch.

    Its surrogate is what the advantages promise, and an entropy bonus of so much weight.
    """
    old = batch.policy
    assert old is not None

    policy = lambda actor: actor.over(batch.obs, batch.start.actor, batch.done)
    divergence = lambda new: jnp.mean(old.kl(new))

    def gain_and_kl(actor):
        new = policy(actor)
        ratio = jnp.exp(new.log_prob(batch.action) - batch.log_prob)
        gain = jnp.mean(ratio * advantage)
        if entropy_coefficient:
            gain += entropy_coefficient * jnp.mean(new.entropy())
        return gain, divergence(new)

    gain = jax.value_and_grad(lambda actor: gain_and_kl(actor)[0])(actor)
    fisher = fisher_products(policy, divergence, actor)
    actor, metrics = constrained_step(actor, gain, fisher, gain_and_kl, bound)
    return actor, {
        "kl": metrics["kl"],
        "policy_loss": -metrics["surrogate"],
        "accepted": metrics["accepted"],
    }
