"""What a prior saves: how many answers and steps learning from scratch needs for the same.

One family in figures: what a prior reaches on held-out tasks, and what it saves.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf import rlhf
from metarlhf.envs.base import TaskFamily
from metarlhf.experiments.evaluation import Curve
from metarlhf.experiments.references import References
from metarlhf.meta.prior import Prior
from metarlhf.statistics import mean_interval
from metarlhf.types import Task


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


def summarise(
    family: TaskFamily,
    config: rlhf.RLHFConfig,
    references: References,
    taught: Sequence[Curve],
    scratch: Sequence[Curve],
    seconds: float | None,
) -> dict[str, Any]:
    """The figures of one family, as `result.json` and the report want them.

    Args:
        family: whose held-out tasks these are.
        config: how they were taught.
        references: both ends of the scale, by task.
        taught: returns of what a prior was taught, one curve for each seed, of the same tasks.
        scratch: returns of learning from scratch, a curve for each schedule tried, of the first so
            many of the tasks; may be empty.
        seconds: how long teaching one task takes.
    """
    curves = [curve.normalise(references) for curve in taught]
    prior = _mean_curve(curves)
    final = np.stack([curve.returns[-1] for curve in curves])
    gained = final - np.stack([curve.returns[0] for curve in curves])
    result = {
        "family": family.name,
        "varies": family.varies,
        "labels": config.labels,
        "feedback": config.feedback,
        "num_tasks": final.shape[1],
        "normalised_return": mean_interval(final, shared_tasks=True)._asdict(),
        "gain": mean_interval(gained, shared_tasks=True)._asdict(),
        "untrained_return": float(references.untrained.mean()),
        "oracle_return": float(references.oracle.mean()),
        "untrained_spread": references.spread,
        "oracle_hardly_learns": references.hardly_learns,
        "oracle_gains_nothing_in": references.gains_nothing_in,
        "seconds": seconds,
        "steps": float(prior.steps[-1]),
        "by_labels": _band(prior, "labels"),
        "prior_by_steps": _band(prior, "steps"),
        "per_task": final.mean(0).tolist(),
    }
    return result | compare_with_scratch(curves, scratch, references, family.horizon)


def compare_with_scratch(
    priors: Sequence[Curve], scratch: Sequence[Curve], references: References, horizon: int
) -> dict[str, Any]:
    """Ratios of answers and of steps, and the curves that they are read from; None without any."""
    num_tasks = scratch[0].returns.shape[1] if scratch else 0
    same = [prior._replace(returns=prior.returns[:, :num_tasks]) for prior in priors]
    target = float(np.mean([prior.returns[-1] for prior in same])) if num_tasks else 0.0
    curves = [curve.normalise(references.first(num_tasks)) for curve in scratch]
    compared: dict[str, Any] = {"scratch_tasks": num_tasks, "scratch_target": target}
    for resource, least in (("labels", 1.0), ("steps", float(horizon))):
        key = f"scratch_{resource}_ratio"
        compared[key] = None
        if not scratch:
            continue
        found = saving(curves, resource, same, least)
        best = cheapest(curves, resource, target)
        compared |= {
            key: found.ratio,
            f"{key}_interval": [found.low, found.high],
            f"scratch_{resource}_at_least": found.at_least,
            f"scratch_by_{resource}": _band(best, resource),
        }
    return compared


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """Mean over seeds, task by task."""
    return Curve(*(np.mean([getattr(c, name) for c in curves], axis=0) for name in Curve._fields))


def _band(curve: Curve, resource: str) -> dict[str, list[float]]:
    """A curve's mean over tasks and its interval, point by point.

    Of several points with as many answers (practice after the last one) only the last is kept.
    """
    used = getattr(curve, resource)
    last = np.append(np.diff(used) > 0, True)
    bands = [mean_interval(row[None], resamples=1000) for row in curve.returns[last]]
    return {resource: used[last].tolist()} | {
        name: [getattr(band, name) for band in bands] for name in ("mean", "low", "high")
    }


def seconds_to_adapt(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    prior: Prior,
    config: rlhf.RLHFConfig,
    steps: int | None = None,
) -> float:
    """Wall-clock seconds of teaching one task, compiled before: the median of three times.

    `steps` are gradient steps, of a prior that adapts by them.
    """
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        jax.block_until_ready(prior.adapt(key, family, task, config, steps).agent)
        times.append(time.perf_counter() - begin)
    return float(np.median(times[1:]))
