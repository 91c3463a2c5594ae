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
Metrics = dict[str, Float[Array, ""]]


def constrained_step(
    params: Params,
    surrogate_and_kl: Callable[[Params], tuple[Float[Array, ""], Float[Array, ""]]],
    bound: float,
    kl_nearby: Callable[[Params], Float[Array, ""]] | None = None,
) -> tuple[Params, Metrics]:
    """`params` after one step (Schulman et al. 2015, section 6 and appendix C).

    `surrogate_and_kl` says what parameters would gain, and how far in nats they are from `params`.
    The direction s solves F s = g by conjugate gradients, g being the surrogate's gradient and F
    the Hessian of the KL at `params` (of a policy the Fisher information), damped. Its length is
    what KL = `bound` allows to second order, shrunk until the surrogate is better and the KL,
    exactly computed, is within `bound`; if no trial is, all stays.

    `kl_nearby` may give F instead: the same KL from a part of the data, which is where the time
    goes (appendix C.1). The bound is held on all of them.
    """
    flat, unflatten = ravel_pytree(params)
    at = lambda x: surrogate_and_kl(unflatten(x))
    nearby = (lambda x: kl_nearby(unflatten(x))) if kl_nearby else (lambda x: at(x)[1])
    fisher = lambda v: jax.jvp(jax.grad(nearby), (flat,), (v,))[1] + DAMPING * v
    before, gradient = jax.value_and_grad(lambda x: at(x)[0])(flat)
    direction, _ = cg(fisher, gradient, maxiter=CG_STEPS)
    curvature = jnp.maximum(direction @ fisher(direction), 1e-12)
    whole = jnp.sqrt(2 * bound / curvature) * direction

    def trial(carry):
        tried, _ = carry
        after, kl = at(flat + SHRINK**tried * whole)
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

    def surrogate_and_kl(actor):
        new = actor.over(batch.obs, batch.start.actor, batch.done)
        ratio = jnp.exp(new.log_prob(batch.action) - batch.log_prob)
        gain = jnp.mean(ratio * advantage)
        if entropy_coefficient:
            gain += entropy_coefficient * jnp.mean(new.entropy())
        return gain, jnp.mean(old.kl(new))

    actor, metrics = constrained_step(actor, surrogate_and_kl, bound)
    return actor, {
        "kl": metrics["kl"],
        "policy_loss": -metrics["surrogate"],
        "accepted": metrics["accepted"],
    }
