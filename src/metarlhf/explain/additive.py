"""A surrogate model of a reward: a generalised additive model with pairwise interactions.

A sum of curves of one feature each and of a few maps of two (Lou et al. 2013, "Accurate
intelligible models with pairwise interactions"), fitted to a learned reward over observed steps.
Its fidelity is measured on test steps. A reward that is a sum of curves by construction
(`EnsembleConfig.network`) needs no fit: its curves are read from it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from metarlhf.explain.rewards import Feature, horizontal_first
from metarlhf.explain.steps import r_squared, train_test_split
from metarlhf.reward import Ensemble
from metarlhf.reward.networks import AdditiveNetwork

# Knots of a curve, and of either axis of a map.
CURVE_KNOTS, MAP_KNOTS = 11, 7
# Parts of a map between two knots, either way.
SUBDIVISIONS = 8
# R² that a curve has to add; a map twice that.
MIN_GAIN = 0.005
MAX_MAPS = 2

Key = tuple[int, ...]
"""A term by the indices of its features."""


class ShapeFunction(NamedTuple):
    """One term: a curve of one feature, or a map of two."""

    features: tuple[Feature, ...]
    knots: tuple[np.ndarray, ...]
    """Of each feature, as inputs; of a choice its options by number."""
    values: np.ndarray
    """At the knots, [knot] or [first, second], in standard deviations of the reward; linear in
    between, and 0 on average over the steps."""
    weight: float
    """Its standard deviation over the steps."""
    deciles: tuple[np.ndarray, ...]
    """Of each feature over the steps, as inputs. Empty for a choice."""
    disagreement: np.ndarray | None = None
    """Of a belief's members about a curve, where it is read from them."""
    observed: np.ndarray | None = None
    """Of a map, [first, second] in `SUBDIVISIONS` parts between two knots: whether a step was in
    the part or next to it."""


class AdditiveModel(NamedTuple):
    """A sum of shape functions, that of the largest weight first."""

    shapes: tuple[ShapeFunction, ...]
    r2: float
    """Share of the reward's variance, on steps that it was neither fitted to nor selected by."""
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
    reward: Float[np.ndarray, " step"],
    features: Sequence[Feature],
) -> AdditiveModel:
    """Fit a sum of curves and maps by stepwise selection.

    Curves are added one after the other while each explains `MIN_GAIN` more of the variance. Then
    at most `MAX_MAPS` maps, each in the place of its two features' curves, while one explains twice
    that more than they do. Then curves go that are not needed any more.

    Args:
        x: observed steps.
        reward: of each step.
        features: all features of the inputs.

    Returns:
        The model, its R² measured on steps that had no part in the selection.
    """
    reward = np.asarray(reward, np.float64)
    reward = (reward - reward.mean()) / max(reward.std(), 1e-12)
    train, test = train_test_split(len(reward))
    selection = tuple(np.flatnonzero(train)[part] for part in train_test_split(int(train.sum())))
    terms: dict[Key, _Term] = {(i,): _Term.of(x, (feature,)) for i, feature in enumerate(features)}
    fit = lambda chosen: _fit([terms[key] for key in chosen], reward, *selection)
    chosen = _forward_selection(fit, [], list(terms), lambda key: (), MIN_GAIN, len(terms))
    scalar = sorted([i for (i, *_) in chosen if len(features[i].columns) == 1][:6])
    pairs: list[Key] = [(i, j) for n, i in enumerate(scalar) for j in scalar[n + 1 :]]
    terms |= {(i, j): _Term.of(x, horizontal_first((features[i], features[j]))) for i, j in pairs}
    replaced = lambda pair: [(i,) for i in pair]
    chosen = _forward_selection(fit, chosen, pairs, replaced, 2 * MIN_GAIN, MAX_MAPS)
    for key in [key for key in chosen if len(key) == 1]:
        rest = [other for other in chosen if other != key]
        if fit(rest).r2 > fit(chosen).r2 - MIN_GAIN:
            chosen = rest
    final = _fit([terms[key] for key in chosen], reward, train, test)
    shapes = sorted(final.shapes, key=lambda shape: -shape.weight)
    return AdditiveModel(tuple(shapes), final.r2, exact=False)


def _forward_selection(
    fit: Callable[[list[Key]], "_Fit"],
    chosen: list[Key],
    candidates: Sequence[Key],
    replaced: Callable[[Key], Sequence[Key]],
    min_gain: float,
    max_steps: int,
) -> list[Key]:
    """Add the best candidate in the place of those that it replaces, while it gains enough."""
    for _ in range(max_steps):
        tried = [
            [*(other for other in chosen if other not in replaced(key)), key]
            for key in candidates
            if key not in chosen
        ]
        fits = [fit(keys).r2 for keys in tried]
        if not fits or max(fits) < fit(chosen).r2 + min_gain:
            break
        chosen = tried[int(np.argmax(fits))]
    return chosen


class _Term(NamedTuple):
    features: tuple[Feature, ...]
    knots: tuple[np.ndarray, ...]
    basis: np.ndarray
    deciles: tuple[np.ndarray, ...]
    observed: np.ndarray | None

    @staticmethod
    def of(x: np.ndarray, features: tuple[Feature, ...]) -> "_Term":
        """Its knots, and each step's weights of them: a row sums to 1."""
        count = CURVE_KNOTS if len(features) == 1 else MAP_KNOTS
        knots, bases = zip(*(_hat_basis(x, feature, count) for feature in features), strict=True)
        basis = bases[0]
        for other in bases[1:]:
            basis = (basis[:, :, None] * other[:, None, :]).reshape(len(x), -1)
        observed = None
        if len(features) == 2:
            points = np.asarray(x)[:, [feature.columns[0] for feature in features]]
            observed = _observed_parts(points, knots)
        return _Term(features, knots, basis, _deciles(x, features), observed)


class _Fit(NamedTuple):
    shapes: list[ShapeFunction]
    r2: float


def _hat_basis(x: np.ndarray, feature: Feature, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Knots where steps are, and the share of each knot in a step (linear interpolation)."""
    column, *more = feature.columns
    if more:
        return np.arange(len(feature.columns)), np.asarray(x)[:, list(feature.columns)]
    value = np.asarray(x, np.float64)[:, column]
    knots = np.unique(np.quantile(value, np.linspace(0, 1, count)).round(6))
    if len(knots) == 1:
        return knots, np.ones((len(value), 1))
    return knots, np.stack([np.interp(value, knots, row) for row in np.eye(len(knots))], axis=1)


def refine(knots: np.ndarray) -> np.ndarray:
    """Divide each interval between two knots into `SUBDIVISIONS` parts."""
    index = np.arange(SUBDIVISIONS * (len(knots) - 1) + 1) / SUBDIVISIONS
    return np.interp(index, np.arange(len(knots)), knots)


def _observed_parts(points: np.ndarray, knots: tuple[np.ndarray, ...]) -> np.ndarray:
    """See `ShapeFunction.observed`."""
    observed: np.ndarray = np.histogram2d(*points.T, bins=[refine(own) for own in knots])[0] > 0
    for axis in (0, 1):
        around = np.pad(observed, [(1, 1) if i == axis else (0, 0) for i in (0, 1)])
        shifted = np.lib.stride_tricks.sliding_window_view(around, 3, axis)
        observed = np.asarray(shifted.any(-1))
    return observed


def _deciles(x: np.ndarray, features: tuple[Feature, ...]) -> tuple[np.ndarray, ...]:
    columns = [feature.columns[0] for feature in features if len(feature.columns) == 1]
    return tuple(np.quantile(np.asarray(x)[:, i], np.linspace(0.1, 0.9, 9)) for i in columns)


def _fit(terms: Sequence[_Term], reward: np.ndarray, train: np.ndarray, test: np.ndarray) -> _Fit:
    """Least squares with a little ridge, which keeps undetermined coefficients near 0."""
    if not terms:
        return _Fit([], 0.0)
    basis = np.concatenate([term.basis - term.basis.mean(0) for term in terms], axis=1)
    rows, mean = basis[train], reward[train].mean()
    ridge = 1e-3 * len(rows) / basis.shape[1] * np.eye(basis.shape[1])
    coefficients = np.linalg.solve(rows.T @ rows + ridge, rows.T @ (reward[train] - mean))
    r2 = r_squared(reward[test], mean + basis[test] @ coefficients)
    shapes, begin = [], 0
    for term in terms:
        own = coefficients[begin : begin + term.basis.shape[1]]
        begin += term.basis.shape[1]
        value = term.basis @ own
        shape = own.reshape([len(knots) for knots in term.knots]) - value.mean()
        weight, deciles = float(value.std()), term.deciles
        shapes.append(
            ShapeFunction(term.features, term.knots, shape, weight, deciles, None, term.observed)
        )
    return _Fit(shapes, r2)


def read_additive(
    belief: Ensemble,
    x: Float[np.ndarray, "step inputs"],
    features: Sequence[Feature],
    points: int = 41,
) -> AdditiveModel:
    """The curves of an ensemble of additive networks, the mean of its members.

    Args:
        belief: the ensemble.
        x: observed steps, over which curves are drawn and scaled.
        features: all features of the inputs.
        points: knots of a curve.

    Raises:
        ValueError: its networks are not additive.
    """
    if not isinstance(belief.models.network, AdditiveNetwork):
        raise ValueError('only an ensemble with network "additive" is a sum of curves')
    parts = jax.jit(jax.vmap(lambda network, x: network.parts(x), (0, None)))
    network, x = belief.models.network, np.asarray(x)
    observed = np.asarray(parts(network, jnp.asarray(x)))
    std = max(float(observed.mean(0).sum(-1).std()), 1e-12)
    low, high = x.min(0), x.max(0)
    grid = low + np.linspace(0, 1, points)[:, None] * (high - low)
    drawn = np.asarray(parts(network, jnp.asarray(grid, jnp.float32)))
    shapes = []
    for feature in features:
        columns = list(feature.columns)
        offset = observed[..., columns].sum(-1).mean(1, keepdims=True)
        if len(columns) == 1:
            knots, values = grid[:, columns[0]], drawn[..., columns[0]]
        else:
            off = np.asarray(parts(network, jnp.zeros((1, x.shape[1]))))[..., 0, columns]
            on = np.asarray(parts(network, jnp.ones((1, x.shape[1]))))[..., 0, columns]
            knots = np.arange(len(columns))
            values = off.sum(-1, keepdims=True) + on - off
        values = (values - offset) / std
        weight = float(observed[..., columns].sum(-1).mean(0).std()) / std
        mean, std_of_members = values.mean(0), values.std(0)
        deciles = _deciles(x, (feature,))
        shapes.append(ShapeFunction((feature,), (knots,), mean, weight, deciles, std_of_members))
    shapes.sort(key=lambda shape: -shape.weight)
    return AdditiveModel(tuple(shapes), 1.0, exact=True)
