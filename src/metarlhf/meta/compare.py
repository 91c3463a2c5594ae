"""What a prior saves: how many answers and steps learning from scratch needs for the same."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metarlhf.meta.evaluate import Curve


class Saving(NamedTuple):
    """How many times as much learning from scratch needs, with a 95 % confidence interval.

    `at_least`: the true ratio is larger, as learning from scratch was not there yet when its budget
    ended, or the prior used less than it is charged for.
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
    prior: Curve,
    least: float,
    resamples: int = 1000,
    seed: int = 0,
) -> Saving:
    """The ratio for what the prior's curve ends with, normalised and of the same tasks.

    `least` is what the prior is taken to have used at least: where it asks about clips that it came
    with it takes no step at all, and is charged an episode.

    The interval is a bootstrap over tasks.
    """
    reached, spent = prior.returns[-1], float(getattr(prior, resource)[-1])
    used = max(spent, least)
    value, never = needed(curves, resource, float(reached.mean()))
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(resamples):
        drawn = rng.integers(len(reached), size=len(reached))
        resampled = [curve._replace(returns=curve.returns[:, drawn]) for curve in curves]
        ratios.append(needed(resampled, resource, float(reached[drawn].mean()))[0] / used)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Saving(value / used, float(low), float(high), never or spent < least)
