"""What is learned from B-Pref's six teachers, as a share of what is learned from its oracle.

RLHF from scratch by the schedule for few answers (`meta.presets`), on eight held-out tasks of each
family: normalised returns, 0 being an untrained policy and 1 PPO on the true reward. The figure is
their mean over tasks, divided by the oracle teacher's; the interval a bootstrap over tasks, which
are the same for all teachers. The share of the oracle itself is 1 by definition and left out.
"""

from dataclasses import replace

import jax
import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, references_of
from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from metarlhf import envs
from metarlhf.experiments.evaluation import adapt_from_scratch
from metarlhf.feedback import TEACHERS
from metarlhf.meta.tasks import held_out_tasks

ROW = "teachers"
TASKS = 8


def measure(options):
    """A figure for each family and teacher."""
    tasks = options.tasks or (2 if options.quick else TASKS)
    plan = replace(Plan.of(options), num_tasks=tasks)
    for family in FAMILIES:
        scale = references_of(family, plan)
        oracle = scale.normalise(taught(family, plan, "oracle"))
        for name in TEACHERS:
            if name == "oracle":
                continue
            found = scale.normalise(taught(family, plan, name))
            value, low, high = share(found, oracle)
            yield Result(
                ROW,
                f"{family}, {name}",
                value,
                low=low,
                high=high,
                seeds=(0,),
                details={
                    "held_out_tasks": plan.num_tasks,
                    "normalised_return": float(found.mean()),
                    "with_oracle": float(oracle.mean()),
                    "labels": plan.preset(family).few_labels.labels,
                },
            )


def taught(family, plan, name):
    """Each task's return at the end."""
    config = replace(plan.preset(family).few_labels, teacher=TEACHERS[name])
    made = envs.make(family)
    tasks = held_out_tasks(made, plan.num_tasks)

    def teach():
        lesson = adapt_from_scratch(jax.random.key(0), made, tasks, config)
        print(f"  {family}, {name}: {lesson.curve.returns[-1].mean():.2f}", flush=True)
        return {"returns": lesson.curve.returns[-1]}

    path = path_of("teacher", f"{family}-{name}", plan.num_tasks, config, made_by=[taught])
    return kept(path, teach)["returns"]


def share(found, oracle, resamples=10_000):
    """Ratio of means, and its 95 % interval over tasks."""
    drawn = np.random.default_rng(0).integers(len(found), size=(resamples, len(found)))
    low, high = np.quantile(found[drawn].mean(1) / oracle[drawn].mean(1), [0.025, 0.975])
    value = float(found.mean() / oracle.mean())
    return value, min(value, float(low)), max(value, float(high))
