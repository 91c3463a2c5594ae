"""What a prior saves: how many answers and steps learning from scratch needs for the same."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metarlhf.meta.evaluate import Curve


class Saving(NamedTuple):
    """How many times as much learning from scratch needs, with a 95 % confidence interval.

    `at_least` says that it was not there yet when its budget ended: the true ratio is larger.
    """

    ratio: float
    low: float
    high: float
    at_least: bool


def first_reach(
    used: Float[np.ndarray, " point"], reached: Float[np.ndarray, " point"], target: float
) -> float | None:
    """How much was used when `target` was first reached, linear between points; None: never."""
    at_or_above = reached >= target
    if not at_or_above.any():
        return None
    i = int(np.argmax(at_or_above))
    if i == 0:
        return float(used[0])
    share = (target - reached[i - 1]) / (reached[i] - reached[i - 1])
    return float(used[i - 1] + share * (used[i] - used[i - 1]))


def needed(curves: list[Curve], resource: str, target: float) -> tuple[float, bool]:
    """The least of `resource` ("labels" or "steps") with which any of several ways from scratch
    reaches `target`; where none does, the most that any used, and True.

    `returns` of the curves are normalised.
    """
    found = [
        first_reach(getattr(curve, resource), curve.returns.mean(1), target) for curve in curves
    ]
    reached = [value for value in found if value is not None]
    if reached:
        return min(reached), False
    return float(max(getattr(curve, resource)[-1] for curve in curves)), True


def cheapest(curves: list[Curve], resource: str, target: float) -> Curve:
    """The curve that reaches `target` with the least of `resource`; else the one that ends best."""

    def cost(curve: Curve) -> tuple[bool, float]:
        spent, never = needed([curve], resource, target)
        return never, -float(curve.returns[-1].mean()) if never else spent

    return min(curves, key=cost)


def saving(
    curves: list[Curve],
    resource: str,
    prior: Float[np.ndarray, " task"],
    used: float,
    resamples: int = 1000,
    seed: int = 0,
) -> Saving:
    """The ratio for what `prior` reached (normalised, by task) with `used` of the resource.

    Both are of the same tasks, which the interval is a bootstrap over.
    """
    value, at_least = needed(curves, resource, float(prior.mean()))
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(resamples):
        drawn = rng.integers(len(prior), size=len(prior))
        resampled = [curve._replace(returns=curve.returns[:, drawn]) for curve in curves]
        ratios.append(needed(resampled, resource, float(prior[drawn].mean()))[0] / used)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Saving(value / used, float(low), float(high), at_least)
