"""The README's picture: `python -m benchmarks.picture`, after the few-shot rows.

What the first seed's priors make of the held-out tasks with ten comparisons, beside learning from
scratch: the same curves as in the rows labels-ratio and steps-ratio.
"""

import sys
from pathlib import Path
from typing import Any, cast

import jax

from benchmarks.few_shot import FAMILIES, Plan, from_scratch, prior_of, references_of, taught
from benchmarks.harness import ROOT, Options
from metarlhf import envs
from metarlhf.cli.measure import pictures, taught_tasks
from metarlhf.experiments.study import summarise
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.report import FamilyPictures, FamilyResult, Results, write_picture
from metarlhf.report.summary import versions

PATH = ROOT / "images" / "overview.svg"


def draw(path: Path, options: Options) -> Path:
    """A column for each family."""
    plan = Plan.of(options)
    families: list[FamilyResult] = []
    drawn: dict[str, FamilyPictures] = {}
    for name in FAMILIES:
        preset, family = plan.preset(name), envs.make(name)
        curves, scale = taught(name, plan, preset.ten), references_of(name, plan)
        scratch = from_scratch(name, plan)
        found: dict[str, Any] = summarise(family, preset.ten, scale, curves, scratch, None)
        families.append(cast(FamilyResult, found))
        tasks = held_out_tasks(family, plan.num_tasks)
        prior = prior_of(name, plan.seeds[0], preset.joint)
        arrays = taught_tasks(jax.random.key(0), family, tasks, prior, preset.ten)
        drawn[found["family"]] = pictures(family, plan.num_tasks, arrays, found["per_task"])
    results: Results = {
        "command": "picture",
        "seed": 0,
        "seconds": 0.0,
        "versions": versions(),
        "families": families,
    }
    return write_picture(path, results, drawn)


if __name__ == "__main__":
    print(draw(PATH, Options(quick="--quick" in sys.argv)))
