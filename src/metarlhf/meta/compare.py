"""What a prior saves: how many answers and steps learning from scratch needs for the same."""

from collections.abc import Sequence
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
    reaches `target`; and True if it may take more, as the way that used least was not there yet.

    A way that ended before the target might have reached it with the next step: it counts as what
    it used. `returns` of the curves are normalised.
    """

    def cost(curve: Curve) -> tuple[float, bool]:
        used = getattr(curve, resource)
        found = first_reach(used, curve.returns.mean(1), target)
        return (float(used[-1]), True) if found is None else (found, False)

    return min(cost(curve) for curve in curves)


def cheapest(curves: list[Curve], resource: str, target: float) -> Curve:
    """The curve that reaches `target` with the least of `resource`; else the one that ends best."""

    def cost(curve: Curve) -> tuple[bool, float]:
        spent, never = needed([curve], resource, target)
        return never, -float(curve.returns[-1].mean()) if never else spent

    return min(curves, key=cost)


def saving(
    curves: list[Curve],
    resource: str,
    priors: Sequence[Curve],
    least: float,
    resamples: int = 1000,
    seed: int = 0,
) -> Saving:
    """The ratio for what the priors' curves, one for each seed, end with on average.

    All curves are normalised and of the same tasks. `least` is what a prior is taken to have used
    at least: where it asks about clips that it came with it takes no step at all, and is charged an
    episode.

    The interval is a bootstrap over seeds and tasks.
    """
    reached = np.stack([prior.returns[-1] for prior in priors])
    spent = float(np.mean([getattr(prior, resource)[-1] for prior in priors]))
    used = max(spent, least)
    value, never = needed(curves, resource, float(reached.mean()))
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(resamples):
        seeds = rng.integers(len(reached), size=(len(reached), 1))
        drawn = rng.integers(reached.shape[1], size=reached.shape[1])
        resampled = [curve._replace(returns=curve.returns[:, drawn]) for curve in curves]
        ratios.append(needed(resampled, resource, float(reached[seeds, drawn].mean()))[0] / used)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Saving(value / used, float(low), float(high), never or spent < least)
