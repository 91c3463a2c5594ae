"""One family in figures: what a prior reaches on held-out tasks, and what it saves."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from metarlhf import rlhf
from metarlhf.envs.base import TaskFamily
from metarlhf.meta.adapt import adapt
from metarlhf.meta.compare import cheapest, saving
from metarlhf.meta.evaluate import Curve
from metarlhf.meta.gradient_prior import GradientPrior, adapt_by_gradient
from metarlhf.meta.prior import Prior
from metarlhf.meta.references import References
from metarlhf.networks import Agent
from metarlhf.statistics import mean_interval
from metarlhf.types import Task


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
    prior: Prior | GradientPrior,
    config: rlhf.RLHFConfig,
    steps: int | None = None,
) -> float:
    """Wall-clock seconds of teaching one task, compiled before: the median of three times.

    `steps` are gradient steps, of a prior that adapts by them.
    """

    def taught() -> Agent:
        if isinstance(prior, Prior):
            return adapt(key, family, task, prior, config).ppo.agent
        alone = jax.tree.map(lambda x: x[None], task)
        count = prior.shape.policy.inner_steps if steps is None else steps
        return adapt_by_gradient(key, family, alone, prior, config, count).loop.agents

    times = []
    for _ in range(4):
        begin = time.perf_counter()
        jax.block_until_ready(taught())
        times.append(time.perf_counter() - begin)
    return float(np.median(times[1:]))
