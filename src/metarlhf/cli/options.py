"""Groups of options that several commands have."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from metarlhf.feedback.config import SEGMENT_LENGTH
from metarlhf.ppo.config import PPOConfig
from metarlhf.reward.config import EnsembleConfig
from metarlhf.rlhf.config import RLHFConfig

Family = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FAMILY]")]
PriorPath = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="PRIOR")]
RunPath = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
Also = Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FOLDER")]
Url = Annotated[str | None, tyro.conf.arg(metavar="URL")]
Vary = Annotated[
    tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="PARAMETER=DISTRIBUTION")
]
Kind = Literal["ten", "twenty", "ratings"]

# Where a lesson's labels are was called so by commands about them.
DATABASE = {"--labels": "--database"}

NUM_TASKS = 1_000_000
"""Held-out tasks of a family: all before an index are drawn with it."""

OfFamily = TypeVar("OfFamily", bound="FamilyOptions")


@dataclass(frozen=True)
class Options:
    """What every group of options is, so that each checks its own and calls the next."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: it is so.
        """


@dataclass(frozen=True)
class SeedOptions(Options):
    """Randomness, and how a command tells what came out."""

    seed: int = 0
    """Seed of all randomness."""
    json: bool = False
    """Print one JSON object as the last line."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to 2**32 - 1, but is {self.seed}")


@dataclass(frozen=True)
class RunOptions(SeedOptions):
    """Where a run lives."""

    run_dir: Folder = None
    """Directory of the run; runs/COMMAND-FAMILY unless given."""
    resume: bool = False
    """Continue the run in its directory, or show its result again; begin it if there is none."""


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """The same of a command that trains, and so has metrics."""

    log: Annotated[str | None, tyro.conf.arg(metavar="LOGGER")] = None
    """Write metrics to a logger besides metrics.jsonl: tensorboard, or MODULE:NAME of your own."""


@dataclass(frozen=True)
class FamilyOptions(Options):
    """Which family of tasks."""

    family: Family = None
    """Task family, as metarlhf tasks lists them; it sets the defaults of other options."""
    vary: Vary = ()
    """Vary a parameter of a Gymnax environment from task to task: g=uniform(5,15),
    l=log-uniform(0.5,2), m=choice(1,2), or a number for all tasks."""


@dataclass(frozen=True)
class TaskOptions(FamilyOptions):
    """Which task of a family."""

    task: int = 0
    """Index of the held-out task of the family."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task)


@dataclass(frozen=True)
class EnvironmentOptions(TaskOptions):
    """A task of a family, or a simulator."""

    env: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """Simulator in place of a family: a Gymnasium id such as HalfCheetah-v5, module:ID, envpool:ID
    or gymnax:ID; it sets the defaults of other options."""
    workers: Literal["sync", "async"] = "sync"
    """Step Gymnasium's environments in this process (sync) or in one process a core (async)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        elsewhere = (self.env or "gymnax:").startswith(("gymnax:", "envpool:"))
        if self.workers == "async" and elsewhere:
            raise ValueError(
                "workers is for Gymnasium's environments (--env): compiled tasks and EnvPool have "
                "threads"
            )
        if self.env is None:
            return
        if self.family is not None:
            raise ValueError(f"either the family {self.family!r} or --env {self.env}, not both")
        if self.vary:
            raise ValueError(
                "vary is for Gymnax's environments, which are named as the family: --env "
                f"{self.env} is one task"
            )
        if self.task:
            raise ValueError(f"task is for families, and --env {self.env} is one task")

    @property
    def name(self) -> str:
        """Of the family or of the simulator."""
        return self.env or self.family or ""


@dataclass(frozen=True)
class JudgedOptions(EnvironmentOptions):
    """The same where somebody judges clips of what an agent does."""

    segment_length: int = SEGMENT_LENGTH
    """Steps of a clip to be judged, with --env; a family has its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.env is None and self.segment_length != type(self).segment_length:
            raise ValueError("segment_length is for --env: a family has its own")
        if self.segment_length < 2:
            raise ValueError(f"segment_length must be 2 or more, but is {self.segment_length}")
        if self.env and self.env.startswith("gymnax:"):
            raise ValueError(
                f"{self.env} is compiled with all else: name it as the family, with --vary"
            )


@dataclass(frozen=True)
class PriorOptions(Options):
    """Which prior."""

    prior: PriorPath = None
    """Folder that metarlhf meta-train published."""
    family: Annotated[str | None, tyro.conf.arg(metavar="FAMILY")] = None
    """Family that the prior must be of; any unless given."""


def named(said: Mapping[str, Any], family: str) -> dict[str, Any]:
    """The environment that is said: a simulator, or a family, `family` unless another is."""
    if said.get("env") is not None:
        return {"env": said["env"], "family": None}
    return {"family": said.get("family") or family}


def with_family(options: OfFamily) -> OfFamily:
    """The same options with what varies as a part of the family's name.

    Raises:
        UnknownTaskError: there is no such family.
    """
    from metarlhf.envs import find, varied

    if options.family is None:
        return options
    name = varied(options.family, options.vary)
    find(name)
    return replace(options, family=name, vary=())


def check_task(task: int) -> None:
    """Refuse an index that no held-out task has.

    Raises:
        ValueError: it is negative, or beyond what is ever drawn.
    """
    if not 0 <= task < NUM_TASKS:
        raise ValueError(f"task must be from 0 to {NUM_TASKS - 1}, but is {task}")


def file_name(name: str) -> str:
    """An environment's name as part of a file's."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def check_members(config: RLHFConfig, ensemble: EnsembleConfig) -> None:
    """Refuse pessimism where there is nobody to disagree.

    Raises:
        ValueError: it is so.
    """
    if config.pessimism and ensemble.members < 2:
        raise ValueError(
            f"pessimism is {config.pessimism}, but ensemble.members is {ensemble.members}: one "
            "reward network alone disagrees with nobody"
        )


@dataclass(frozen=True)
class MeasureOptions(RunOptions):
    """How much is measured."""

    tasks: int = 40
    """Held-out tasks to teach."""
    scratch_tasks: int = 8
    """Of these, tasks to learn from scratch as well; 0: none, which is much faster."""
    oracle: PPOConfig = field(default_factory=PPOConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tasks < 1:
            raise ValueError(f"tasks must be 1 or more, but is {self.tasks}")
        if not 0 <= self.scratch_tasks <= self.tasks:
            raise ValueError(
                f"scratch_tasks must be from 0 to tasks ({self.tasks}), but is "
                f"{self.scratch_tasks}: say --scratch-tasks {self.tasks} or less"
            )
