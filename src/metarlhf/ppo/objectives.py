"""How far the new policy may move from the old one."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.networks import LearnedDrift


def clipped_surrogate(
    log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float
) -> Float[Array, ""]:
    """-mean min(r A, clip(r, 1 - c, 1 + c) A): Schulman et al. 2017, equation 7."""
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))


def discovered_surrogate(
    log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """-mean(r A - d), d being the drift that discovered policy optimisation charges.

    The closed form of a drift that was meta-learned (Lu et al. 2022, section 6): nothing where a
    step is undone, next to nothing near r = 1, more and more beyond. What was good is measured by
    r - 1, what was bad by log r.
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
    drift: LearnedDrift,
) -> Float[Array, ""]:
    """-mean(r A - d), the drift d being one that was meta-learned (LPO: Lu et al. 2022)."""
    return -jnp.mean(jnp.exp(log_ratio) * advantage - drift(log_ratio, advantage, clip))


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


def value_loss(
    value: Float[Array, "*batch"],
    target: Float[Array, "*batch"],
    old: Float[Array, "*batch"] | None = None,
    clip: float = 0.0,
) -> Float[Array, ""]:
    """Half the mean squared error; with `clip` > 0 the worse of that and of the value held within
    `clip` of the `old` one (as in OpenAI's baselines, ppo2).
    """
    error = (value - target) ** 2
    if clip:
        assert old is not None
        held = old + jnp.clip(value - old, -clip, clip)
        error = jnp.maximum(error, (held - target) ** 2)
    return 0.5 * jnp.mean(error)
