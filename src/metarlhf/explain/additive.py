"""A reward in one line: a sum of curves of one feature each, and of a few maps of two.

A generalised additive model with interactions (Lou et al. 2013, "Accurate intelligible models with
pairwise interactions"), fitted to what a learned reward pays where something was seen. How much of
the reward it tells is measured on steps that it was not fitted to. A reward that is a sum of curves
by construction (`EnsembleConfig.network`) needs no fit: its curves are read from it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from metarlhf.envs.base import Shown
from metarlhf.explain.landscape import held_out, share_told
from metarlhf.explain.rewards import Feature, across_first
from metarlhf.reward import Ensemble
from metarlhf.reward.networks import AdditiveNetwork

# Knots of a curve, and of either axis of a map.
CURVE, MAP = 11, 7
# Parts of a map between two knots, either way.
FINE = 8
# What a curve or a map has to tell of the reward to be one of the sum's.
WORTH = 0.005
MAPS = 2

Name = tuple[int, ...]
"""A term by the numbers of its features."""


class Shape(NamedTuple):
    """One term: a curve of one feature, or a map of two."""

    features: tuple[Feature, ...]
    knots: tuple[np.ndarray, ...]
    """Of each feature, as inputs; of a choice its options by number."""
    values: np.ndarray
    """At the knots, [knot] or [first, second], in standard deviations of the reward; linear in
    between, and on average nothing over the steps."""
    weight: float
    """Its standard deviation over the steps: how much hangs on it."""
    deciles: tuple[np.ndarray, ...]
    """Of each feature, as inputs: where steps are. Empty for a choice."""
    spread: np.ndarray | None = None
    """How far the members of a belief disagree about a curve, where it is read from them."""
    seen: np.ndarray | None = None
    """Of a map, [first, second] in `FINE` parts between two knots: whether a step was there, or
    next to it."""


class Additive(NamedTuple):
    """A sum of shapes, the weightiest first, and how much of the reward it tells."""

    shapes: tuple[Shape, ...]
    r2: float
    """Share of the reward's variance, on steps that it was neither fitted to nor chosen by."""
    exact: bool
    """The reward is this sum by construction."""

    @property
    def formula(self) -> str:
        """In one line."""
        terms = [f"f({', '.join(f.name for f in shape.features)})" for shape in self.shapes]
        sign = "=" if self.exact else "\N{ALMOST EQUAL TO}"
        return f"reward {sign} {' + '.join(terms) or 'a constant'}"


def fit_additive(
    x: Float[np.ndarray, "step inputs"],
    paid: Float[np.ndarray, " step"],
    features: Sequence[Feature],
) -> Additive:
    """The sum of curves and maps that tells most of `paid`, with no more terms than are worth it.

    Curves are taken in one after the other while each tells `WORTH` of the variance. Then at most
    `MAPS` maps, each in the place of its two features' curves, while one tells twice that more than
    they do. Then curves go that are not needed any more. How much is told is found out on steps
    that had no part in the choice.
    """
    paid = _standardised(paid)
    fitted, judged = held_out(len(paid))
    apart = tuple(np.flatnonzero(fitted)[part] for part in held_out(int(fitted.sum())))
    terms: dict[Name, _Term] = {(i,): _Term.of(x, (feature,)) for i, feature in enumerate(features)}
    fit = lambda chosen: _fit([terms[name] for name in chosen], paid, *apart)
    chosen = _best_first(fit, [], list(terms), lambda name: (), WORTH, len(terms))
    single = sorted([i for (i, *_) in chosen if len(features[i].columns) == 1][:6])
    pairs: list[Name] = [(i, j) for n, i in enumerate(single) for j in single[n + 1 :]]
    terms |= {(i, j): _Term.of(x, across_first((features[i], features[j]))) for i, j in pairs}
    instead = lambda pair: [(i,) for i in pair]
    chosen = _best_first(fit, chosen, pairs, instead, 2 * WORTH, MAPS)
    for name in [name for name in chosen if len(name) == 1]:
        rest = [other for other in chosen if other != name]
        if fit(rest).r2 > fit(chosen).r2 - WORTH:
            chosen = rest
    found = _fit([terms[name] for name in chosen], paid, fitted, judged)
    shapes = sorted(found.shapes, key=lambda shape: -shape.weight)
    return Additive(tuple(shapes), found.r2, exact=False)


def _best_first(
    fit: Callable[[list[Name]], "_Fit"],
    chosen: list[Name],
    candidates: Sequence[Name],
    instead: Callable[[Name], Sequence[Name]],
    worth: float,
    most: int,
) -> list[Name]:
    """Take in what tells most, each `instead` of some others, while it is worth it."""
    for _ in range(most):
        tried = [
            [*(n for n in chosen if n not in instead(name)), name]
            for name in candidates
            if name not in chosen
        ]
        fits = [fit(names).r2 for names in tried]
        if not fits or max(fits) < fit(chosen).r2 + worth:
            break
        chosen = tried[int(np.argmax(fits))]
    return chosen


class _Term(NamedTuple):
    features: tuple[Feature, ...]
    knots: tuple[np.ndarray, ...]
    basis: np.ndarray
    deciles: tuple[np.ndarray, ...]
    seen: np.ndarray | None

    @staticmethod
    def of(x: np.ndarray, features: tuple[Feature, ...]) -> "_Term":
        """Its knots, and each step's place among them: a row sums to 1."""
        count = CURVE if len(features) == 1 else MAP
        knots, bases = zip(*(_hats(x, feature, count) for feature in features), strict=True)
        basis = bases[0]
        for other in bases[1:]:
            basis = (basis[:, :, None] * other[:, None, :]).reshape(len(x), -1)
        seen = None
        if len(features) == 2:
            seen = _seen(np.asarray(x)[:, [feature.columns[0] for feature in features]], knots)
        return _Term(features, knots, basis, _deciles(x, features), seen)


class _Fit(NamedTuple):
    shapes: list[Shape]
    r2: float


def _hats(x: np.ndarray, feature: Feature, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Knots where steps are, and the share of each knot in a step (linear interpolation)."""
    column, *more = feature.columns
    if more:
        return np.arange(len(feature.columns)), np.asarray(x)[:, list(feature.columns)]
    value = np.asarray(x, np.float64)[:, column]
    knots = np.unique(np.quantile(value, np.linspace(0, 1, count)).round(6))
    if len(knots) == 1:
        return knots, np.ones((len(value), 1))
    return knots, np.stack([np.interp(value, knots, row) for row in np.eye(len(knots))], axis=1)


def finely(knots: np.ndarray) -> np.ndarray:
    """The knots, and between two of them so many places that they make `FINE` parts."""
    return np.interp(np.arange(FINE * (len(knots) - 1) + 1) / FINE, np.arange(len(knots)), knots)


def _seen(places: np.ndarray, knots: tuple[np.ndarray, ...]) -> np.ndarray:
    """See `Shape.seen`."""
    seen: np.ndarray = np.histogram2d(*places.T, bins=[finely(own) for own in knots])[0] > 0
    for axis in (0, 1):
        around = np.pad(seen, [(1, 1) if i == axis else (0, 0) for i in (0, 1)])
        shifted = np.lib.stride_tricks.sliding_window_view(around, 3, axis)
        seen = np.asarray(shifted.any(-1))
    return seen


def _deciles(x: np.ndarray, features: tuple[Feature, ...]) -> tuple[np.ndarray, ...]:
    columns = [feature.columns[0] for feature in features if len(feature.columns) == 1]
    return tuple(np.quantile(np.asarray(x)[:, i], np.linspace(0.1, 0.9, 9)) for i in columns)


def _fit(terms: Sequence[_Term], paid: np.ndarray, fitted: np.ndarray, judged: np.ndarray) -> _Fit:
    """Least squares with a little ridge, which keeps what steps do not settle near nothing."""
    if not terms:
        return _Fit([], 0.0)
    basis = np.concatenate([term.basis - term.basis.mean(0) for term in terms], axis=1)
    train, mean = basis[fitted], paid[fitted].mean()
    ridge = 1e-3 * len(train) / basis.shape[1] * np.eye(basis.shape[1])
    coefficients = np.linalg.solve(train.T @ train + ridge, train.T @ (paid[fitted] - mean))
    r2 = share_told(paid[judged], mean + basis[judged] @ coefficients)
    shapes, begin = [], 0
    for term in terms:
        own = coefficients[begin : begin + term.basis.shape[1]]
        begin += term.basis.shape[1]
        value = term.basis @ own
        shape = own.reshape([len(knots) for knots in term.knots]) - value.mean()
        shapes.append(
            Shape(
                term.features, term.knots, shape, float(value.std()), term.deciles, seen=term.seen
            )
        )
    return _Fit(shapes, r2)


def read_additive(
    belief: Ensemble,
    family: Shown,
    x: Float[np.ndarray, "step inputs"],
    features: Sequence[Feature],
    points: int = 41,
) -> Additive:
    """The curves that an ensemble of additive networks is made of, the mean of its members.

    Raises:
        ValueError: its networks are not additive.
    """
    if not isinstance(belief.models.network, AdditiveNetwork):
        raise ValueError('only an ensemble with network "additive" is a sum of curves')
    parts = jax.jit(jax.vmap(lambda network, x: network.parts(x), (0, None)))
    network, x = belief.models.network, np.asarray(x)
    seen = np.asarray(parts(network, jnp.asarray(x)))
    std = max(float(seen.mean(0).sum(-1).std()), 1e-12)
    low, high = x.min(0), x.max(0)
    grid = low + np.linspace(0, 1, points)[:, None] * (high - low)
    drawn = np.asarray(parts(network, jnp.asarray(grid, jnp.float32)))
    shapes = []
    for feature in features:
        columns = list(feature.columns)
        offset = seen[..., columns].sum(-1).mean(1, keepdims=True)
        if len(columns) == 1:
            knots, values = grid[:, columns[0]], drawn[..., columns[0]]
        else:
            off = np.asarray(parts(network, jnp.zeros((1, x.shape[1]))))[..., 0, columns]
            on = np.asarray(parts(network, jnp.ones((1, x.shape[1]))))[..., 0, columns]
            knots = np.arange(len(columns))
            values = off.sum(-1, keepdims=True) + on - off
        values = (values - offset) / std
        weight = float(seen[..., columns].sum(-1).mean(0).std()) / std
        where = _deciles(x, (feature,))
        shapes.append(Shape((feature,), (knots,), values.mean(0), weight, where, values.std(0)))
    shapes.sort(key=lambda shape: -shape.weight)
    return Additive(tuple(shapes), 1.0, exact=True)


def _standardised(paid: np.ndarray) -> np.ndarray:
    paid = np.asarray(paid, np.float64)
    return (paid - paid.mean()) / max(paid.std(), 1e-12)
