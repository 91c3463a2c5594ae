"""`metarlhf demo`: the whole story on a small scale, and a report of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from metarlhf import envs, runs
from metarlhf.cli.options import FamilyOptions, MeasureOptions, TrainOptions, file_name, with_family
from metarlhf.cli.parsing import RENAMED, Said, parse
from metarlhf.cli.runs import open_run, say, show
from metarlhf.meta.joint_config import JointConfig
from metarlhf.meta.presets import Preset, preset


@dataclass(frozen=True)
class Demo(MeasureOptions, TrainOptions, FamilyOptions):
    """Meta-train on a family, teach tasks never seen with ten answers each, write a report."""

    FEW: ClassVar = (
        "family", "vary", "tasks", "scratch_tasks", "joint.iterations", "joint.tasks",
        "joint.reward_steps", "joint.ppo.lr", "joint.teacher.mistake", "oracle.total_steps",
        "run_dir", "seed", "resume", "log", "json",
    )  # fmt: skip

    tasks: int = 12
    """Held-out tasks to teach."""
    scratch_tasks: int = 4
    """Of these, tasks to learn from scratch as well; 0: none, which is faster."""
    joint: JointConfig = field(default_factory=JointConfig)


def presets(said: Said) -> Demo:
    """The defaults where so much is said."""
    family = said.get("family") or "navigation"
    return Demo(family=family, oracle=preset(family).oracle, joint=preset(family).demo)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    renamed = RENAMED | {"--config.": "--joint."}
    options = with_family(parse(Demo, argv, "demo", presets, renamed))
    from metarlhf.report.summary import lines

    name = options.family or ""
    family = envs.make_family(name)
    with open_run(options, f"demo-{file_name(name)}") as run:
        if run.result:
            return show(run.result, lines(run.result, run.path), options.json)
        return _demo(options, run, family, preset(name))


def _demo(options: Demo, run: runs.RunDirectory, family: envs.TaskFamily, presets: Preset) -> int:
    import numpy as np

    from metarlhf.cli.measure import Measurement, conclude, measure
    from metarlhf.cli.meta_train import meta_train, publish
    from metarlhf.report.summary import lines

    say(
        f"1. meta-train on {family.name}; 2. teach {options.tasks} tasks never seen with ten "
        "answers each; 3. compare with learning from scratch. About three minutes on two cores; "
        f"all goes to {run.path}."
    )
    prior = meta_train(run, family, options.seed, options.joint)
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
