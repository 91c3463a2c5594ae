"""Features that follow from others: what they are paid for is paid for those.

Where an arm's fingertip is follows from its angles, and the cosine of its elbow from where the
fingertip is. A learned reward may look at either, and all that it was told is the same. Gradients
say at which it looks; to say what it *wants*, features that follow from others are put in terms of
those, and the reward becomes a function of what may vary by itself.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from metarlhf.explain.landscape import held_out, share_told
from metarlhf.explain.rewards import Feature, Pays

# What counts less, as a share of all that is attributed, neither follows nor is followed.
COUNTS = 0.01
# A feature follows where others tell as much of its variance, in steps they were not fitted to.
TELLS = 0.999
# The reward in terms of the others has to tell as much of the reward itself, or none follows.
FAITHFUL = 0.99
# Features that are looked at, at most: terms of second degree grow with the square of their number.
MOST = 12
# Terms of second degree in so many: 1, each, and all products of two.
TERMS = 1 + MOST + MOST * (MOST + 1) // 2


class Follows(NamedTuple):
    """A feature, what it follows from, and how exactly."""

    feature: Feature
    of: tuple[Feature, ...]
    r2: float
    """Share of its variance, on steps that this was not fitted to."""


class Terms(eqx.Module):
    """Polynomials of second degree in some inputs, one for each input that follows from them."""

    sources: Integer[Array, " source"]
    mean: Float[Array, " source"]
    scale: Float[Array, " source"]
    follows: Bool[Array, " inputs"]
    coefficients: Float[Array, "term inputs"]

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """The same steps, with what follows put in terms of the rest."""
        z = (x[..., self.sources] - self.mean) / self.scale
        return jnp.where(self.follows, _second_degree(z, jnp) @ self.coefficients, x)


class InTermsOf(eqx.Module):
    """A reward as a function of what may vary by itself; the other inputs make no difference."""

    reward: Pays
    terms: Terms

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch"]:
        return self.reward(self.terms(x))


def in_terms_of_the_rest(
    reward: Pays,
    x: Float[np.ndarray, "step inputs"],
    features: Sequence[Feature],
    importance: Float[np.ndarray, " feature"],
) -> tuple[list[Follows], Terms]:
    """`find_following`, where the reward stays what it is; where it does not, nothing follows.

    A reward may live on the little by which a feature strays from what it seems to follow from.
    """
    found, terms = find_following(x, features, importance)
    if found and fidelity(reward, terms, x) < FAITHFUL:
        return [], nothing_follows(x.shape[1])
    return found, terms


def nothing_follows(inputs: int) -> Terms:
    """Each of so many inputs as it is; a program compiled with this serves other terms, too."""
    return Terms(
        jnp.zeros(MOST, int), jnp.zeros(MOST), jnp.ones(MOST),
        jnp.zeros(inputs, bool), jnp.zeros((TERMS, inputs)),
    )  # fmt: skip


def fidelity(reward: Pays, terms: Terms, x: Float[np.ndarray, "step inputs"]) -> float:
    """Share of a reward's variance that it has in terms of the rest, over the given steps."""
    pays = eqx.filter_jit(lambda reward, x: reward(x))
    paid, told = (
        np.asarray(pays(InTermsOf(reward, each), jnp.asarray(x)), np.float64)
        for each in (nothing_follows(x.shape[1]), terms)
    )
    return share_told(paid, told)


def find_following(
    x: Float[np.ndarray, "step inputs"],
    features: Sequence[Feature],
    importance: Float[np.ndarray, " feature"],
) -> tuple[list[Follows], Terms]:
    """Which features follow from others, in what was seen, and how.

    From the least important up, a feature goes that the others tell, and with it no other that went
    before may become untold.
    """
    x = np.asarray(x, np.float64)
    column = np.array([feature.columns[0] for feature in features])
    mean, scale = x.mean(0)[column], np.maximum(x.std(0)[column], 1e-9)
    fitted, judged = held_out(len(x))

    def told(i: int, of: list[int]) -> tuple[float, np.ndarray]:
        terms = _second_degree((x[:, column[of]] - mean[of]) / scale[of])
        value = x[:, column[i]]
        coefficients = _least_squares(terms[fitted], value[fitted])
        return share_told(value[judged], terms[judged] @ coefficients), coefficients

    tells = lambda i, of: told(i, of)[0] >= TELLS
    free, gone = _candidates(features, importance, x.std(0)), []
    for i in free[::-1]:
        rest = [j for j in free if j != i]
        if rest and all(tells(each, rest) for each in (i, *gone)):
            free, gone = rest, [*gone, i]
    found = {i: _needed(free, lambda of, i=i: tells(i, of)) for i in gone[::-1]}
    # Always as many, so that whoever compiles this does so once.
    sources = (free + MOST * [0])[:MOST]
    coefficients = np.zeros((TERMS, x.shape[1]))
    said = []
    for i, of in found.items():
        r2, own = told(i, of)
        coefficients[_places(sources, of), column[i]] = own
        said.append(Follows(features[i], tuple(features[j] for j in of), r2))
    follows = np.isin(np.arange(x.shape[1]), column[list(found)])
    number = lambda value: jnp.asarray(value, jnp.float32)
    return said, Terms(
        jnp.asarray(column[sources]), number(mean[sources]), number(scale[sources]),
        jnp.asarray(follows), number(coefficients),
    )  # fmt: skip


def _candidates(features, importance, spread) -> list[int]:
    """Features that count and vary, the most important first."""
    varies = lambda f: len(f.columns) == 1 and spread[f.columns[0]] > 1e-9
    order = np.argsort(-importance, kind="stable")
    return [int(i) for i in order if importance[i] >= COUNTS and varies(features[i])][:MOST]


def _needed(of: list[int], enough: Callable[[list[int]], bool]) -> list[int]:
    """As few as are enough, the least important left out first."""
    for i in reversed(of):
        rest = [j for j in of if j != i]
        if rest and enough(rest):
            of = rest
    return of


def _second_degree(z, numbers=np):
    """1, each of z, and all products of two, as columns."""
    first, second = np.triu_indices(z.shape[-1])
    one = numbers.ones((*z.shape[:-1], 1), z.dtype)
    return numbers.concatenate([one, z, z[..., first] * z[..., second]], axis=-1)


def _places(sources: list[int], of: list[int]) -> list[int]:
    """Where the terms of some of the sources stand among those of all."""
    count, at = len(sources), [sources.index(i) for i in of]
    product = np.zeros((count, count), int)
    product[np.triu_indices(count)] = 1 + count + np.arange(count * (count + 1) // 2)
    product = np.maximum(product, product.T)[np.ix_(at, at)]
    return [0, *(1 + i for i in at), *product[np.triu_indices(len(of))].tolist()]


def _least_squares(
    terms: Float[np.ndarray, "step term"], value: Float[np.ndarray, " step"]
) -> Float[np.ndarray, " term"]:
    """Coefficients of the terms, as small as may be.

    Where terms say nearly the same, as squares of a sine and a cosine do, any large multiples of
    both might be told apart: off what was seen they would lead anywhere.
    """
    return np.linalg.lstsq(terms, value, rcond=1e-4)[0]
