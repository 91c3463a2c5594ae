"""`metarlhf evaluate`: measure a prior on held-out tasks, beside learning from scratch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metarlhf.cli import evaluate_host, evaluate_steps
from metarlhf.cli.adapt import Kind, leave_out, named_prior, names_prior
from metarlhf.cli.measure import Measurement, MeasureOptions, conclude, measure
from metarlhf.cli.options import PriorPath, asks_for_help, file_name, open_run, parse, show
from metarlhf.cli.summary import lines
from metarlhf.files import digest
from metarlhf.meta.presets import Preset, preset
from metarlhf.meta.prior import GradientPrior, Prior
from metarlhf.runs import RunDirectory


@dataclass(frozen=True)
class Evaluate(MeasureOptions):
    """Teach held-out tasks from a prior, compare with learning from scratch, write a report.

    Of a prior that learns from what tasks pay: what each gradient step gains, beside a random
    start. It has other options; name the prior before --help to see them.
    """

    prior: PriorPath = Path("prior")
    """Folder that `metarlhf meta-train` published."""
    task: str | None = None
    """The family that the tasks are of; refused if the prior is of another."""
    preset: Kind = "ten"
    """Ten comparisons, twenty, or ten ratings."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    if asks_for_help(argv) and not names_prior(argv):
        parse(Evaluate, argv, "evaluate", Evaluate(oracle=preset("navigation").oracle))
    prior, presets, _ = named_prior(argv, "evaluate")
    if isinstance(prior, GradientPrior) and not prior.asks:
        leave_out(argv, prior, ("--scratch-tasks",))
        if prior.on_host:
            return evaluate_host.main(argv, prior)
        return evaluate_steps.main(argv, prior, presets)
    options = parse(Evaluate, argv, "evaluate", Evaluate(oracle=presets.oracle))
    name = file_name(prior.family.name)
    begins_with = digest(options.prior) or ""
    name = f"evaluate-{name}-{begins_with[:6]}-{options.preset}"
    with open_run(options, name, begins_with) as run:
        if run.result:
            return show(run.result, lines(run.result, run.path), options.json)
        return _evaluate(options, run, prior, presets)


def _evaluate(options: Evaluate, run: RunDirectory, prior: Prior, presets: Preset) -> int:
    family, config = prior.family, getattr(presets, options.preset)
    what = Measurement.of(options, family, config, presets)
    found = measure(run, prior, what)
    result = conclude(run, "evaluate", what, found, run.seconds)
    return show(result, lines(result, run.path), options.json)
