"""How many times as much learning from scratch needs as the prior does with ten comparisons."""

from collections.abc import Iterable

import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, from_scratch, references_of, taught
from benchmarks.harness import Options, Result
from metarlhf import envs
from metarlhf.experiments.study import first_reach, saving


def savings(
    row: str, resource: str, options: Options, *, must: float, aim: float
) -> Iterable[Result]:
    """The ratio of `resource` ("labels" or "steps") for each family."""
    plan = Plan.of(options)
    for family in FAMILIES:
        preset = plan.preset(family)
        scale = references_of(family, plan)
        prior = [curve.normalise(scale) for curve in taught(family, plan, preset.ten)]
        mean = prior[0]._replace(returns=np.mean([curve.returns for curve in prior], axis=0))
        curves = [curve.normalise(scale) for curve in from_scratch(family, plan)]
        horizon = envs.make(family).horizon
        found = saving(curves, resource, prior, horizon if resource == "steps" else 1)
        target = float(mean.returns[-1].mean())
        needed = {
            name: first_reach(getattr(curve, resource), curve.returns.mean(1), target)
            for name, curve in zip(("few_labels", "few_steps"), curves, strict=True)
        }
        yield Result(
            row,
            family,
            found.ratio,
            low=min(found.low, found.ratio),
            high=max(found.high, found.ratio),
            must=must,
            aim=aim,
            at_least=found.at_least,
            seeds=plan.seeds,
            details={
                "held_out_tasks": plan.num_tasks,
                "reached_by_the_prior": target,
                f"{resource}_of_the_prior": float(getattr(mean, resource)[-1]),
                f"{resource}_from_scratch_by_schedule": needed,
                "best_from_scratch": [float(curve.returns.mean(1).max()) for curve in curves],
            },
        )
