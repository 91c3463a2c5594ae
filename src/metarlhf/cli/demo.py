"""`metarlhf demo`: the whole story on a small scale, and a report of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from metarlhf.cli.measure import Measurement, MeasureOptions, conclude, measure
from metarlhf.cli.meta_train import meta_train, publish
from metarlhf.cli.options import (
    TaskName,
    TrainOptions,
    VaryOptions,
    file_name,
    open_run,
    parse_task,
    say,
    show,
)
from metarlhf.cli.summary import lines
from metarlhf.envs import TaskFamily, make_family
from metarlhf.meta.joint_config import JointConfig
from metarlhf.meta.presets import Preset, preset
from metarlhf.runs import RunDirectory


@dataclass(frozen=True)
class Demo(MeasureOptions, TrainOptions, VaryOptions):
    """Meta-train on a family, teach tasks never seen with ten answers each, write a report."""

    task: TaskName = "navigation"
    """The task family."""
    tasks: int = 12
    """Held-out tasks to teach."""
    scratch_tasks: int = 4
    """How many of them to learn from scratch as well; 0: none, which is faster."""
    config: JointConfig = field(default_factory=JointConfig)
    """How it meta-trains."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    default_of = lambda name: Demo(task=name, oracle=preset(name).oracle, config=preset(name).demo)
    options = parse_task(Demo, argv, "demo", default_of)
    family, presets = make_family(options.task), preset(options.task)
    with open_run(options, f"demo-{file_name(options.task)}") as run:
        if run.result:
            return show(run.result, lines(run.result, run.path), options.json)
        return _demo(options, run, family, presets)


def _demo(options: Demo, run: RunDirectory, family: TaskFamily, presets: Preset) -> int:
    say(
        f"1. meta-train on {family.name}; 2. teach {options.tasks} tasks never seen with ten "
        "answers each; 3. compare with learning from scratch. About three minutes on two cores; "
        f"all goes to {run.path}."
    )
    prior = meta_train(run, family, options.seed, options.config)
    publish(prior, run, options.seed)
    # When the run is continued, what it was when meta-training ended.
    meta = run.keep("meta-training-seconds", lambda: {"s": np.array(run.seconds)})
    what = Measurement.of(options, family, presets.ten, presets)
    found = measure(run, prior, what)
    rows = run.metrics.rows
    found["meta_seconds"] = float(meta["s"])
    found["meta_training"] = {
        "iteration": [row["step"] for row in rows],
        "return": [row["return"] for row in rows],
        "accuracy_hard": [row["accuracy_hard"] for row in rows],
    }
    result = conclude(run, "demo", what, found, run.seconds)
    return show(result, lines(result, run.path), options.json)
