"""`metarlhf demo`: the whole story on a small scale, and a report of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from metarlhf.cli.measure import Measurement, conclude, measure
from metarlhf.cli.meta_train import meta_train
from metarlhf.cli.options import RunOptions, open_run, parse, say, show
from metarlhf.cli.summary import lines
from metarlhf.envs.registry import make
from metarlhf.meta.presets import preset
from metarlhf.meta.prior import publish


@dataclass(frozen=True)
class Demo(RunOptions):
    """Meta-train on a family, teach tasks never seen with ten answers each, write a report."""

    task: str = "navigation"
    """The task family."""
    tasks: int = 16
    """Held-out tasks to teach."""
    scratch_tasks: int = 4
    """How many of them to learn from scratch as well; 0: none, which is faster."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tasks < 1:
            raise ValueError(f"tasks must be 1 or more, but is {self.tasks}")
        if not 0 <= self.scratch_tasks <= self.tasks:
            raise ValueError(
                f"scratch_tasks must be from 0 to tasks ({self.tasks}), but is {self.scratch_tasks}"
            )


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Demo, argv, "demo", Demo())
    family, presets = make(options.task), preset(options.task)
    run = open_run(options, f"demo-{options.task.replace('/', '-')}")
    if run.result:
        return show(run.result, lines(run.result, run.path), options.json)
    say(
        f"1. meta-train on {family.name}; 2. teach {options.tasks} tasks never seen with ten "
        "answers each; 3. compare with learning from scratch. About three minutes on two cores; "
        f"all goes to {run.path}."
    )
    begin = time.monotonic()
    prior = meta_train(run, family, options.seed, presets.demo)
    publish(prior, run.path / "prior", {"seed": options.seed})
    meta_seconds = time.monotonic() - begin
    # Less practice than in the benchmarks, where all is measured to the end.
    oracle = replace(presets.oracle, total_steps=presets.oracle.total_steps // 2)
    presets = replace(presets, oracle=oracle)
    what = Measurement(
        family, options.tasks, options.scratch_tasks, presets.ten, presets, options.seed
    )
    found = measure(run, prior, what)
    rows = run.metrics.rows
    found["meta_seconds"] = meta_seconds
    found["meta_training"] = {
        "iteration": [row["step"] for row in rows],
        "return": [row["return"] for row in rows],
        "accuracy_hard": [row["accuracy_hard"] for row in rows],
    }
    result = conclude(run, "demo", what, found, time.monotonic() - begin)
    return show(result, lines(result, run.path), options.json)
