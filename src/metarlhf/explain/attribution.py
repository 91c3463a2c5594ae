"""Feature importance of a reward, by integrated gradients and by permutation."""

from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.explain.dependence import (
    Dependence,
    SubstitutedReward,
    no_substitution,
    substitute_dependent,
)
from metarlhf.explain.rewards import Feature, RewardFunction, RewardOfInputs
from metarlhf.explain.steps import subsample

# Steps that attributions are taken over.
ATTRIBUTED_STEPS = 256
BEFORE, AFTER, TRUE = "before", "after", "true"
"""Names of rewards: learned, before and after the answers, and the task's own."""


class Attribution(NamedTuple):
    """How much each input contributes to each step's reward, relative to the reference steps."""

    parts: Float[Array, "step inputs"]
    total: Float[Array, " step"]
    """The step's reward, minus the mean reward of the reference steps: what parts should sum to."""


class Completeness(NamedTuple):
    """How far the sums of attributions are off."""

    error: float
    """Over all steps, as a share of the sum of absolute totals."""
    largest: float
    """Of the worst step, as a share of the largest total."""


def completeness_error(attribution: Attribution) -> Completeness:
    """How exactly attributions add up; of a constant reward in its own unit."""
    total = np.abs(attribution.total)
    gap = np.abs(np.asarray(attribution.parts).sum(-1) - np.asarray(attribution.total))
    if total.max() <= 0.0:
        return Completeness(float(gap.sum()), float(gap.max()))
    return Completeness(float(gap.sum() / total.sum()), float(gap.max() / total.max()))


@eqx.filter_jit
def integrated_gradients(
    reward: RewardFunction,
    x: Float[Array, "step inputs"],
    references: Float[Array, "reference inputs"],
    nodes: int = 32,
) -> Attribution:
    """Integrated gradients (Sundararajan et al. 2017, equation 1), the mean over `references`.

    The part of input i is (x_i - x'_i) times the integral of the reward's derivative by it on the
    straight line from the reference x' to x, by the Gauss-Legendre rule with `nodes` nodes. Parts
    sum to the difference of both rewards (completeness), see `completeness_error`.

    With several references, steps that were observed, no part depends on one arbitrary zero
    (Erion et al. 2021, "expected gradients").

    Args:
        reward: differentiable; a tree of arrays that can be called.
        x: steps to explain.
        references: baselines to average over.
        nodes: of the integral.

    Returns:
        Attributions of each step, in the reward's unit.
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    fractions = jnp.asarray((points + 1) / 2, x.dtype)[:, None, None]
    weights = jnp.asarray(weights / 2, x.dtype)
    gradient = jax.grad(lambda x: reward(x).sum())

    def along(total, reference):
        slopes = gradient(reference + fractions * (x - reference))
        return total + (x - reference) * jnp.tensordot(weights, slopes, 1), None

    total, _ = jax.lax.scan(along, jnp.zeros_like(x), references)
    value, baseline = reward(x), reward(references).mean()
    # 0 where the difference is lost in rounding, as of a constant.
    lost = 8 * jnp.finfo(value.dtype).eps * jnp.abs(baseline)
    difference = jnp.where(jnp.abs(value - baseline) > lost, value - baseline, 0.0)
    return Attribution(total / references.shape[0], difference)


@eqx.filter_jit
def permutation_importance(
    key: PRNGKeyArray,
    reward: RewardFunction,
    x: Float[Array, "step inputs"],
    features: tuple[Feature, ...],
    repeats: int = 8,
) -> Float[Array, " feature"]:
    """Permutation importance: the error of the reward where one feature is from another step.

    Half the mean squared change over the variance (Breiman 2001; as such the total Sobol index
    where features are independent): 0 for a feature that is not used, 1 for the only one.

    Args:
        key: of the permutations.
        reward: as a function of inputs.
        x: steps to permute.
        features: whose importance to take.
        repeats: permutations to average over.

    Returns:
        The importance of each feature, as a share of the reward's variance.
    """
    value = reward(x)
    variance = jnp.maximum(jnp.var(value), 1e-12)
    of = np.zeros((len(features), x.shape[1]), bool)
    for row, feature in zip(of, features, strict=True):
        row[list(feature.columns)] = True

    def importance(inputs):
        key, columns = inputs
        other = jnp.where(columns, x[jax.random.permutation(key, x.shape[0])], x)
        return jnp.mean((reward(other) - value) ** 2) / (2 * variance)

    keys = jax.random.split(key, (repeats, len(features)))
    once = lambda keys: jax.lax.map(importance, (keys, jnp.asarray(of)))
    return jax.lax.map(once, keys).mean(0)


def sum_by_feature(
    parts: Float[np.ndarray, "step inputs"], features: tuple[Feature, ...]
) -> Float[np.ndarray, "step feature"]:
    """Attributions of features: the sums over their inputs."""
    return np.stack([parts[:, list(feature.columns)].sum(-1) for feature in features], axis=-1)


def relative_importance(parts: Float[np.ndarray, "step feature"]) -> Float[np.ndarray, " feature"]:
    """Each feature's share of the mean absolute attribution. Shares sum to 1, and are all 0 where a
    reward is constant.
    """
    size = np.abs(parts).mean(0)
    return size / max(float(size.sum()), 1e-12)


class Importance(NamedTuple):
    """How much each feature matters to one reward."""

    gradients: Float[np.ndarray, " feature"]
    """Share of the absolute integrated gradients; they sum to 1."""
    permutation: Float[np.ndarray, " feature"]
    """Permutation importance, a share of the reward's variance."""


class RewardAttribution(NamedTuple):
    """What rewards depend on."""

    importance: dict[str, Importance]
    """Of each reward by its name."""
    dependent: list[Dependence]
    """Features that were substituted."""
    reward: RewardFunction
    """The learned reward as a function of independent features."""
    attribution: Attribution
    """Of the learned reward, step by step."""


def attribute_rewards(
    key: PRNGKeyArray,
    rewards: Mapping[str, RewardOfInputs],
    x: Float[Array, "step inputs"],
    references: Float[Array, "reference inputs"],
    features: tuple[Feature, ...],
) -> RewardAttribution:
    """Feature importance of each reward, in terms of independent features.

    Args:
        key: of the permutations.
        rewards: by name, the learned one as `AFTER`.
        x: observed steps.
        references: baselines of integrated gradients.
        features: all features of the inputs.
    """
    steps = subsample(x, ATTRIBUTED_STEPS)
    attribute = lambda reward: integrated_gradients(reward, steps, references)
    share = lambda one: relative_importance(sum_by_feature(np.asarray(one.parts), features))
    direct = attribute(SubstitutedReward(rewards[AFTER], no_substitution(x.shape[1])))
    dependent, substitution = substitute_dependent(
        rewards[AFTER], np.asarray(x), features, share(direct)
    )
    independent = {name: SubstitutedReward(one, substitution) for name, one in rewards.items()}
    attributions = {name: attribute(reward) for name, reward in independent.items()}
    importance = {}
    for name, reward in independent.items():
        permuted = permutation_importance(key, reward, steps, features)
        importance[name] = Importance(share(attributions[name]), np.asarray(permuted))
    return RewardAttribution(importance, dependent, independent[AFTER], attributions[AFTER])
