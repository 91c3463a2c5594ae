"""`metarlhf evaluate`: measure a prior on held-out tasks, against learning from scratch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from metarlhf import files
from metarlhf.cli import evaluate_host, evaluate_steps
from metarlhf.cli.adapt import named_prior
from metarlhf.cli.measure import Measurement, MeasureOptions, conclude, measure
from metarlhf.cli.options import Also, Kind, PriorOptions, RunOptions, file_name
from metarlhf.cli.parsing import Said, parse
from metarlhf.cli.runs import open_run, show
from metarlhf.errors import UserError
from metarlhf.meta.presets import preset
from metarlhf.meta.prior import GradientPrior, Prior, load_prior
from metarlhf.ppo import PPOConfig
from metarlhf.report.summary import lines
from metarlhf.runs import RunDirectory


@dataclass(frozen=True)
class Evaluate(MeasureOptions, PriorOptions):
    """Teach held-out tasks from a prior, compare with learning from scratch, write a report.

    A prior that learns from what tasks pay has other options: name it to see them.
    """

    FEW: ClassVar = (
        "prior", "preset", "tasks", "scratch_tasks", "oracle.total_steps", "oracle.lr", "run_dir",
        "seed", "resume", "json",
    )  # fmt: skip
    NOT_FOR: ClassVar = "is for priors that learn from what a task pays, and this one asks"

    preset: Kind = "ten"
    """Ten comparisons, twenty, or ten ratings."""


@dataclass(frozen=True)
class EvaluateByReward(RunOptions, PriorOptions):
    """Adapt to held-out tasks by gradient steps on what they pay."""

    NOT_FOR: ClassVar = (
        "is about answers, or for other simulators, and this prior learns from what a task of its "
        "family pays"
    )

    also: Also = ()
    """One more prior of the same kind, meta-trained with another --seed; intervals are then over
    seeds and tasks."""
    tasks: int = 40
    """Held-out tasks to adapt to."""
    steps: int | None = None
    """Gradient steps, each from as many fresh episodes as in meta-training; as many as there unless
    given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tasks", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, but is {value}")


@dataclass(frozen=True)
class EvaluateSteps(EvaluateByReward):
    """Adapt to held-out tasks by gradient steps on what they pay: from a prior, from a random
    start, and from a policy that was pretrained on all tasks. Compare with PPO, write a report.
    """

    FEW: ClassVar = (
        "prior", "also", "tasks", "steps", "pretraining", "oracle.total_steps", "oracle.lr",
        "run_dir", "seed", "resume", "json",
    )  # fmt: skip

    pretraining: bool = True
    """Compare with pretraining on all tasks, too, in as many steps as meta-training had."""
    oracle: PPOConfig = field(default_factory=PPOConfig)


@dataclass(frozen=True)
class EvaluateHost(EvaluateByReward):
    """Adapt to held-out tasks by gradient steps on what they pay, from a prior and from a random
    start, in host simulators. Meta-World's families are measured by its own protocol.
    """

    oracle_steps: int = 0
    """Compare with PPO that learns a task alone in so many environment steps; 0: not."""
    oracle_tasks: int = 2
    """Tasks that PPO learns alone, one after the other."""
    pretraining_steps: int = 0
    """Compare with one policy that PPO taught all tasks in so many environment steps; 0: not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("oracle_steps", "pretraining_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, but is {getattr(self, name)}")
        if not 1 <= self.oracle_tasks <= self.tasks:
            raise ValueError(
                f"oracle_tasks must be from 1 to the number of tasks, {self.tasks}, but is "
                f"{self.oracle_tasks}"
            )


Options = Evaluate | EvaluateSteps | EvaluateHost


def presets(said: Said, prior: Prior | None) -> Options:
    """The defaults for a prior, where so much is said; for none, those of navigation's."""
    folder = said.get("prior")
    if prior is None:
        return Evaluate(oracle=preset("navigation").oracle)
    family = prior.shape.family
    if prior.asks:
        return Evaluate(prior=folder, oracle=preset(family).oracle)
    if prior.on_host:
        return EvaluateHost(prior=folder, steps=3)
    return EvaluateSteps(prior=folder, oracle=preset(family).oracle)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    found: list[Prior] = []

    def presets_of(said: Said) -> Options:
        if said.get("prior") is not None or not said.asks_for_help:
            found.append(named_prior(said.get("prior"), said.get("family"), "evaluate"))
        return presets(said, found[0] if found else None)

    options = parse((Evaluate, EvaluateSteps, EvaluateHost), argv, "evaluate", presets_of)
    prior = found[0]
    assert options.prior is not None
    name = f"evaluate-{file_name(prior.shape.family)}"
    if isinstance(options, EvaluateByReward):
        assert isinstance(prior, GradientPrior)
        priors, begins_with = with_others(prior, options.also), digests(options.prior, options.also)
        kind = evaluate_host if isinstance(options, EvaluateHost) else evaluate_steps
        with open_run(options, f"{name}-{begins_with[:6]}", begins_with) as run:
            return kind.run_in(run, options, priors)
    begins_with = files.digest(options.prior) or ""
    with open_run(options, f"{name}-{begins_with[:6]}-{options.preset}", begins_with) as run:
        if run.result:
            return show(run.result, lines(run.result, run.path), options.json)
        return _evaluate(options, run, prior)


def _evaluate(options: Evaluate, run: RunDirectory, prior: Prior) -> int:
    presets = preset(prior.shape.family)
    what = Measurement.of(options, prior.family, getattr(presets, options.preset), presets)
    found = measure(run, prior, what)
    result = conclude(run, "evaluate", what, found, run.seconds)
    return show(result, lines(result, run.path), options.json)


def with_others(prior: GradientPrior, also: Sequence[Path]) -> list[GradientPrior]:
    """`prior`, and those in the other folders.

    Raises:
        UserError: one was meta-trained otherwise, on another family or in another way.
        PublishedFileError: see `metarlhf.files.load`.
    """
    others = [load_prior(folder) for folder in also]
    for folder, other in zip(also, others, strict=True):
        if other.shape != prior.shape:
            raise UserError(
                f"--also {folder}: that prior was meta-trained otherwise. Intervals are over seeds "
                "alone: name priors of the same family and --config"
            )
    return [prior, *others]  # type: ignore[list-item]


def digests(folder: Path, also: Sequence[Path]) -> str:
    """Tells apart what is measured.

    Raises:
        UserError: a prior is named twice.
    """
    each = [files.digest(one) or "" for one in (folder, *also)]
    if len({*each}) < len(each):
        raise UserError("--also: one of the priors is named twice, which says nothing of seeds")
    return each[0] if not also else sha256("-".join(each).encode()).hexdigest()
