"""Which features a reward pays for: integrated gradients, and beside them permutations.

What a learned reward pays for: how much of it each feature accounts for.
"""

from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.explain.following import Follows, InTermsOf, in_terms_of_the_rest, nothing_follows
from metarlhf.explain.found import Importance
from metarlhf.explain.landscape import spaced
from metarlhf.explain.rewards import Feature, OfInputs, Pays


class Attribution(NamedTuple):
    """How much of each step's reward each input accounts for, beside the reference steps."""

    parts: Float[Array, "step inputs"]
    explained: Float[Array, " step"]
    """The step's reward, minus the mean reward of the reference steps: what parts should sum to."""


def completeness_error(found: Attribution) -> tuple[float, float]:
    """How far sums are off: over all steps, and of the worst step.

    The first as a share of all that was to be explained, the second of the most of any step.
    """
    explained = np.abs(found.explained)
    gap = np.abs(np.asarray(found.parts).sum(-1) - np.asarray(found.explained))
    if explained.max() <= 0.0:  # A constant reward has nothing to explain, and nothing is said.
        return float(gap.sum()), float(gap.max())
    return float(gap.sum() / explained.sum()), float(gap.max() / explained.max())


@eqx.filter_jit
def integrated_gradients(
    reward: Pays,
    x: Float[Array, "step inputs"],
    references: Float[Array, "reference inputs"],
    nodes: int = 32,
) -> Attribution:
    """Integrated gradients (Sundararajan et al. 2017, equation 1), the mean over `references`.

    The part of input i is (x_i - x'_i) times the integral of the reward's derivative by it on the
    straight way from the reference x' to x, by Gauss and Legendre's rule of so many `nodes`. Parts
    sum to the difference of both rewards (completeness): `completeness_error` says how exactly.

    With several references, steps that were really seen, no part depends on one arbitrary zero
    (Erion et al. 2021, "expected gradients").
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    shares = jnp.asarray((points + 1) / 2, x.dtype)[:, None, None]
    weights = jnp.asarray(weights / 2, x.dtype)
    gradient = jax.grad(lambda x: reward(x).sum())

    def along(total, reference):
        slopes = gradient(reference + shares * (x - reference))
        return total + (x - reference) * jnp.tensordot(weights, slopes, 1), None

    total, _ = jax.lax.scan(along, jnp.zeros_like(x), references)
    return Attribution(total / references.shape[0], _beyond(reward(x), reward(references).mean()))


def _beyond(paid: Float[Array, " step"], usual: Float[Array, ""]) -> Float[Array, " step"]:
    """What is paid beyond the usual; nothing where that is lost in rounding, as of a constant."""
    beyond = paid - usual
    return jnp.where(jnp.abs(beyond) > 8 * jnp.finfo(paid.dtype).eps * jnp.abs(usual), beyond, 0.0)


@eqx.filter_jit
def permutation_importance(
    key: PRNGKeyArray,
    reward: Pays,
    x: Float[Array, "step inputs"],
    features: tuple[Feature, ...],
    repeats: int = 8,
) -> Float[Array, " feature"]:
    """How much of the reward's variance goes wrong where one feature is taken from another step.

    Half the mean squared change over the variance (Breiman 2001; as such the total Sobol index
    where features are independent): 0 for a feature that is not looked at, 1 for the only one.
    """
    paid = reward(x)
    variance = jnp.maximum(jnp.var(paid), 1e-12)
    of = np.zeros((len(features), x.shape[1]), bool)
    for row, feature in zip(of, features, strict=True):
        row[list(feature.columns)] = True

    def importance(inputs):
        key, columns = inputs
        other = jnp.where(columns, x[jax.random.permutation(key, x.shape[0])], x)
        return jnp.mean((reward(other) - paid) ** 2) / (2 * variance)

    keys = jax.random.split(key, (repeats, len(features)))
    once = lambda keys: jax.lax.map(importance, (keys, jnp.asarray(of)))
    return jax.lax.map(once, keys).mean(0)


def by_feature(
    parts: Float[np.ndarray, "step inputs"], features: tuple[Feature, ...]
) -> Float[np.ndarray, "step feature"]:
    """The parts of a feature's inputs, added up."""
    return np.stack([parts[:, list(feature.columns)].sum(-1) for feature in features], axis=-1)


def shares(parts: Float[np.ndarray, "step feature"]) -> Float[np.ndarray, " feature"]:
    """Each feature's share of all that was attributed, signs left aside; they sum to 1, or are all
    nothing where a reward pays every step alike.
    """
    size = np.abs(parts).mean(0)
    return size / max(float(size.sum()), 1e-12)


# Steps that attributions are taken over.
ATTRIBUTED = 256
AFTER = "after"
"""What the learned reward is called."""


class PaysFor(NamedTuple):
    """Of each reward by its name, and of the learned one step by step."""

    importance: dict[str, Importance]
    follows: list[Follows]
    learned: Pays
    """The learned reward, in terms of what does not follow from the rest."""
    attributed: Attribution
    """What it is made of, step by step."""


def what_it_pays_for(
    key: PRNGKeyArray,
    rewards: Mapping[str, OfInputs],
    x: Float[Array, "step inputs"],
    references: Float[Array, "reference inputs"],
    features: tuple[Feature, ...],
) -> PaysFor:
    """How much of each reward is paid for each feature, in terms of what varies by itself."""
    looked = spaced(x, ATTRIBUTED)
    attribute = lambda reward: integrated_gradients(reward, looked, references)
    share = lambda found: shares(by_feature(np.asarray(found.parts), features))
    looks_at = attribute(InTermsOf(rewards[AFTER], nothing_follows(x.shape[1])))
    follows, terms = in_terms_of_the_rest(rewards[AFTER], np.asarray(x), features, share(looks_at))
    wants = {name: InTermsOf(reward, terms) for name, reward in rewards.items()}
    attributed = {name: attribute(reward) for name, reward in wants.items()}
    importance = {}
    for name, reward in wants.items():
        permuted = permutation_importance(key, reward, looked, features)
        importance[name] = Importance(share(attributed[name]), np.asarray(permuted))
    return PaysFor(importance, follows, wants[AFTER], attributed[AFTER])
