"""Dependent features: their attributions are counted as those of the features they depend on.

The position of an arm's fingertip depends on its angles, and the cosine of its elbow on where the
fingertip is. A learned reward may use either and agree with the same answers. Gradients say which
it uses. To say what it *rewards*, dependent features are substituted by polynomials of those that
they depend on, and the reward becomes a function of independent features.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from metarlhf.explain.rewards import Feature, RewardFunction
from metarlhf.explain.steps import r_squared, train_test_split

# Features of less importance (a share of all attributions) are left alone.
MIN_IMPORTANCE = 0.01
# A feature is dependent where others explain this share of its variance, on test steps.
MIN_R2 = 0.999
# The substituted reward explains this share of the reward's variance, or nothing is substituted.
MIN_FIDELITY = 0.99
# Features that are considered, at most, and monomials of second degree in them.
MAX_FEATURES = 12
NUM_TERMS = 1 + MAX_FEATURES + MAX_FEATURES * (MAX_FEATURES + 1) // 2


class Dependence(NamedTuple):
    """A feature, what it depends on, and how exactly."""

    feature: Feature
    sources: tuple[Feature, ...]
    r2: float
    """Share of its variance that they explain, on test steps."""


class Substitution(eqx.Module):
    """Polynomials of second degree in some inputs, one for each dependent input."""

    sources: Integer[Array, " source"]
    mean: Float[Array, " source"]
    scale: Float[Array, " source"]
    dependent: Bool[Array, " inputs"]
    coefficients: Float[Array, "term inputs"]

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """The same steps with dependent inputs substituted."""
        z = (x[..., self.sources] - self.mean) / self.scale
        return jnp.where(self.dependent, _monomials(z, jnp) @ self.coefficients, x)


class SubstitutedReward(eqx.Module):
    """A reward as a function of independent inputs; the others make no difference."""

    reward: RewardFunction
    substitution: Substitution

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch"]:
        return self.reward(self.substitution(x))


def substitute_dependent(
    reward: RewardFunction,
    x: Float[np.ndarray, "step inputs"],
    features: Sequence[Feature],
    importance: Float[np.ndarray, " feature"],
) -> tuple[list[Dependence], Substitution]:
    """`find_dependent`, unless the reward depends on the residuals: then nothing is substituted.

    Args:
        reward: as a function of inputs.
        x: observed steps.
        features: all features of the inputs.
        importance: of each feature; the least important ones are substituted first.

    Returns:
        The dependent features, and the substitution of their inputs.
    """
    dependences, substitution = find_dependent(x, features, importance)
    if dependences and fidelity(reward, substitution, x) < MIN_FIDELITY:
        return [], no_substitution(x.shape[1])
    return dependences, substitution


def no_substitution(inputs: int) -> Substitution:
    """Leave all inputs as they are; a program compiled with this serves other substitutions."""
    return Substitution(
        jnp.zeros(MAX_FEATURES, int), jnp.zeros(MAX_FEATURES), jnp.ones(MAX_FEATURES),
        jnp.zeros(inputs, bool), jnp.zeros((NUM_TERMS, inputs)),
    )  # fmt: skip


def fidelity(
    reward: RewardFunction, substitution: Substitution, x: Float[np.ndarray, "step inputs"]
) -> float:
    """Share of the reward's variance that the substituted reward explains, over the given steps."""
    evaluate = eqx.filter_jit(lambda reward, x: reward(x))
    exact, substituted = (
        np.asarray(evaluate(SubstitutedReward(reward, one), jnp.asarray(x)), np.float64)
        for one in (no_substitution(x.shape[1]), substitution)
    )
    return r_squared(exact, substituted)


def find_dependent(
    x: Float[np.ndarray, "step inputs"],
    features: Sequence[Feature],
    importance: Float[np.ndarray, " feature"],
) -> tuple[list[Dependence], Substitution]:
    """Which features depend on others over the observed steps, and how.

    From the least important up, a feature is substituted that the others explain, as long as they
    still explain all that were substituted before.

    Args:
        x: observed steps.
        features: all features of the inputs.
        importance: of each feature.

    Returns:
        The dependent features, the last substituted first, and the substitution of their inputs.
    """
    x = np.asarray(x, np.float64)
    column = np.array([feature.columns[0] for feature in features])
    mean, scale = x.mean(0)[column], np.maximum(x.std(0)[column], 1e-9)
    train, test = train_test_split(len(x))

    def fit(i: int, sources: list[int]) -> tuple[float, np.ndarray]:
        terms = _monomials((x[:, column[sources]] - mean[sources]) / scale[sources])
        value = x[:, column[i]]
        # A cut-off, as terms may say nearly the same (squares of a sine and a cosine): any large
        # multiples of both might cancel, and lead anywhere off the observed steps.
        coefficients = np.linalg.lstsq(terms[train], value[train], rcond=1e-4)[0]
        return r_squared(value[test], terms[test] @ coefficients), coefficients

    explained = lambda i, sources: fit(i, sources)[0] >= MIN_R2
    free, substituted = _candidates(features, importance, x.std(0)), []
    for i in free[::-1]:
        rest = [j for j in free if j != i]
        if rest and all(explained(one, rest) for one in (i, *substituted)):
            free, substituted = rest, [*substituted, i]
    needed = {
        i: _minimal_sources(free, lambda sources, i=i: explained(i, sources))
        for i in substituted[::-1]
    }
    # Always as many, so that whoever compiles this does so once.
    columns = (free + MAX_FEATURES * [0])[:MAX_FEATURES]
    coefficients = np.zeros((NUM_TERMS, x.shape[1]))
    dependences = []
    for i, sources in needed.items():
        r2, own = fit(i, sources)
        coefficients[_term_positions(columns, sources), column[i]] = own
        dependences.append(Dependence(features[i], tuple(features[j] for j in sources), r2))
    dependent = np.isin(np.arange(x.shape[1]), column[list(needed)])
    number = lambda value: jnp.asarray(value, jnp.float32)
    return dependences, Substitution(
        jnp.asarray(column[columns]), number(mean[columns]), number(scale[columns]),
        jnp.asarray(dependent), number(coefficients),
    )  # fmt: skip


def _candidates(features, importance, spread) -> list[int]:
    """Features that matter and vary, the most important first."""
    varies = lambda f: len(f.columns) == 1 and spread[f.columns[0]] > 1e-9
    order = np.argsort(-importance, kind="stable")
    return [int(i) for i in order if importance[i] >= MIN_IMPORTANCE and varies(features[i])][
        :MAX_FEATURES
    ]


def _minimal_sources(sources: list[int], enough: Callable[[list[int]], bool]) -> list[int]:
    """As few as are enough, the least important left out first."""
    for i in reversed(sources):
        rest = [j for j in sources if j != i]
        if rest and enough(rest):
            sources = rest
    return sources


def _monomials(z, numbers=np):
    """1, each of z, and all products of two, as columns."""
    first, second = np.triu_indices(z.shape[-1])
    one = numbers.ones((*z.shape[:-1], 1), z.dtype)
    return numbers.concatenate([one, z, z[..., first] * z[..., second]], axis=-1)


def _term_positions(columns: list[int], sources: list[int]) -> list[int]:
    """Positions of the monomials of some sources among those of all."""
    count, at = len(columns), [columns.index(i) for i in sources]
    product = np.zeros((count, count), int)
    product[np.triu_indices(count)] = 1 + count + np.arange(count * (count + 1) // 2)
    product = np.maximum(product, product.T)[np.ix_(at, at)]
    return [0, *(1 + i for i in at), *product[np.triu_indices(len(sources))].tolist()]
