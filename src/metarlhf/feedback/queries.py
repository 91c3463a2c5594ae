"""Which question to ask: scores of candidate pairs, from what several reward functions predict.

`probability[m, q]` is what member m of a belief (a network of an ensemble, a particle of a
posterior) gives to "the right clip of pair q is better"; `weight[m]` is how much the member is
believed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.feedback.config import Strategy


def binary_entropy(probability: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Entropy of a coin, in nats."""
    p = jnp.clip(probability, 1e-7, 1.0 - 1e-7)
    return -(p * jnp.log(p) + (1.0 - p) * jnp.log1p(-p))


def disagreement(
    probability: Float[Array, "member pair"], weight: Float[Array, " member"]
) -> Float[Array, " pair"]:
    """Standard deviation of the members' predictions (Christiano et al. 2017, section 2.2.4)."""
    mean = weight @ probability
    return jnp.sqrt(jnp.maximum(weight @ (probability - mean) ** 2, 0.0))


def entropy(
    probability: Float[Array, "member pair"], weight: Float[Array, " member"]
) -> Float[Array, " pair"]:
    """Entropy of the mean prediction: how unsure the belief is of the answer."""
    return binary_entropy(weight @ probability)


def information_gain(
    probability: Float[Array, "member pair"], weight: Float[Array, " member"]
) -> Float[Array, " pair"]:
    """Mutual information of the answer and the member, in nats (BALD, Houlsby et al. 2011).

    Unlike entropy it does not pay for questions that no answer could settle.
    """
    return entropy(probability, weight) - weight @ binary_entropy(probability)


def rating_information_gain(
    log_probability: Float[Array, "level member clip"], weight: Float[Array, " member"]
) -> Float[Array, " clip"]:
    """What a clip's mark would tell about which member is right, in nats.

    `log_probability[k, m, c]` is what member m gives to mark k of clip c.
    """
    given = jnp.exp(log_probability)
    mean = jnp.einsum("m,kmc->kc", weight, given)
    left_open = -jnp.einsum("m,kmc->c", weight, given * log_probability)
    return -jnp.sum(mean * jnp.log(jnp.maximum(mean, 1e-12)), axis=0) - left_open


def score_pairs(
    key: PRNGKeyArray,
    probability: Float[Array, "member pair"],
    weight: Float[Array, " member"],
    strategy: Strategy,
) -> Float[Array, " pair"]:
    """How much each pair is worth asking about; the best has the highest score."""
    if strategy == "disagreement":
        return disagreement(probability, weight)
    if strategy == "entropy":
        return entropy(probability, weight)
    if strategy == "information-gain":
        return information_gain(probability, weight)
    return jax.random.uniform(key, probability.shape[1:])
