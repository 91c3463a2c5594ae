"""How far the new policy may move from the old one."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def clipped_surrogate(
    log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float
) -> Float[Array, ""]:
    """-mean min(r A, clip(r, 1 - c, 1 + c) A): Schulman et al. 2017, equation 7."""
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))


def kl_penalised_surrogate(
    log_ratio: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    kl: Float[Array, "*batch"],
    coefficient: Float[Array, ""],
) -> Float[Array, ""]:
    """-mean(r A) + b mean(KL(old || new)): Schulman et al. 2017, equation 8."""
    return -jnp.mean(jnp.exp(log_ratio) * advantage) + coefficient * jnp.mean(kl)


def adapt_kl_coefficient(
    coefficient: Float[Array, ""], kl: Float[Array, ""], target: float
) -> Float[Array, ""]:
    """Double where the policy moved more than 1.5 times the target, halve where less than 1/1.5.

    Schulman et al. 2017, section 4.
    """
    doubled = jnp.where(kl > 1.5 * target, 2.0 * coefficient, coefficient)
    return jnp.clip(jnp.where(kl < target / 1.5, 0.5 * doubled, doubled), 1e-4, 1e4)
