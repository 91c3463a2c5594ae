"""How well predicted rewards explain what a person said."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def answer_log_likelihood(
    logit: Float[Array, "*batch"],
    preference: Float[Array, "*#batch"],
    lapse: float = 0.0,
) -> Float[Array, "*batch"]:
    """Log-probability of an answer under Bradley-Terry (Christiano et al. 2017, equation 1).

    `logit` is the right clip's predicted sum minus the left one's. With probability `lapse` an
    answer is taken to be a coin's. "Equal" (0.5) is half of each answer.
    """
    if lapse == 0.0:
        right, left = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    else:
        chance = jax.nn.sigmoid(logit)
        right = jnp.log((1.0 - lapse) * chance + 0.5 * lapse)
        left = jnp.log((1.0 - lapse) * (1.0 - chance) + 0.5 * lapse)
    return preference * right + (1.0 - preference) * left


def rating_log_likelihood(
    predicted: Float[Array, "*batch"],
    mark: Float[Array, "*#batch"],
    log_std: Float[Array, "*#batch"],
    levels: int,
) -> Float[Array, "*batch"]:
    """Log-density of a mark, as normal around the predicted position on the scale (0 to 1).

    A mark k of n says that the clip stands at (k - 0.5) / n, give or take.
    """
    position = (mark - 0.5) / levels
    # Beyond the ends of the scale a mark cannot follow: being further out is no error.
    expected = jnp.clip(predicted, 0.5 / levels, 1.0 - 0.5 / levels)
    error = position - expected
    return -0.5 * (error * jnp.exp(-log_std)) ** 2 - log_std


def weighted_mean(
    values: Float[Array, "*batch"], weight: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """Mean over the answers that were given; zero where there are none."""
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)
