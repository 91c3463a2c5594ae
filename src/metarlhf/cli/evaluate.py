"""`metarlhf evaluate`: measure a prior on held-out tasks, beside learning from scratch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metarlhf.cli.adapt import Kind, PriorPath, load_prior
from metarlhf.cli.measure import Measurement, conclude, measure
from metarlhf.cli.options import RunOptions, open_run, parse, show
from metarlhf.cli.summary import lines


@dataclass(frozen=True)
class Evaluate(RunOptions):
    """Teach held-out tasks from a prior, compare with learning from scratch, write a report."""

    prior: PriorPath = Path("prior")
    """Folder that `metarlhf meta-train` published."""
    task: str | None = None
    """The family that the tasks are of; refused if the prior is of another."""
    preset: Kind = "ten"
    """Ten comparisons, twenty, or ten ratings."""
    tasks: int = 40
    """Held-out tasks to teach."""
    scratch_tasks: int = 8
    """How many of them to learn from scratch as well; 0: none, which is much faster."""

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
    if {"-h", "--help"} & set(argv):
        parse(Evaluate, argv, "evaluate", Evaluate())
    prior, presets, _ = load_prior(argv, "evaluate")
    options = parse(Evaluate, argv, "evaluate", Evaluate())
    family = prior.family
    run = open_run(options, f"evaluate-{family.name.replace('/', '-')}-{options.preset}")
    if run.result:
        return show(run.result, lines(run.result, run.path), options.json)
    begin = time.monotonic()
    what = Measurement(
        family,
        options.tasks,
        options.scratch_tasks,
        getattr(presets, options.preset),
        presets,
        options.seed,
    )
    found = measure(run, prior, what)
    result = conclude(run, "evaluate", what, found, time.monotonic() - begin)
    return show(result, lines(result, run.path), options.json)
