"""What can be chosen about a lesson, and what of it the rest follows from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from metarlhf.cli.options import (
    File,
    Folder,
    JudgedOptions,
    Kind,
    TrainOptions,
    Url,
    check_members,
    file_name,
    named,
    with_family,
)
from metarlhf.cli.parsing import Said, parse
from metarlhf.errors import UserError
from metarlhf.meta.presets import BESIDE, preset
from metarlhf.meta.prior import load_prior
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import CloningConfig, RLHFConfig
from metarlhf.teach import directory as lesson_directory
from metarlhf.teach.web import LOOPBACK


@dataclass(frozen=True)
class Teach(TrainOptions, JudgedOptions):
    """Open a page on which people teach an agent, from scratch or from a prior.

    With --env they are shown films of a Gymnasium environment.
    """

    FEW: ClassVar = (
        "family", "env", "task", "prior", "preset", "labels", "feedback", "rounds", "updates",
        "never.clips", "leash", "demonstrations", "wait", "overlap", "learn_from", "host", "port",
        "annotators", "database", "run_dir", "seed", "resume",
    )  # fmt: skip

    prior: Folder = None
    """Folder that metarlhf meta-train published: then ten answers do; from scratch unless given."""
    preset: Kind = "ten"
    """With a prior: ten comparisons, twenty, or ten ratings; it sets the defaults of others."""
    config: RLHFConfig = field(default_factory=RLHFConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    demonstrations: File = None
    """File of episodes that show what is wanted (metarlhf play RUN --record FILE writes one): the
    policy begins as they are, and each of their clips counts as better than the agent's own."""
    cloning: CloningConfig = field(default_factory=CloningConfig)
    wait: bool = False
    """Ask a round at a time and do nothing until it is answered, as studies want it."""
    ahead: int = 3
    """Answers that open questions are good for, at least; several people need more."""
    overlap: int = 1
    """People that each question is for."""
    learn_from: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Learn from this person's answers alone; from everybody's unless given."""
    replay: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """Do a lesson again without its people: the directory of its run."""
    database: Url = None
    """Where labels are kept, sqlite:///PATH or postgresql://USER@HOST/NAME; in the run's directory
    unless given."""
    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs --annotators."""
    port: int = 8765
    """Port of the page."""
    annotators: tuple[str, ...] = ()
    """Names of people, each of whom gets a token, shown once."""
    linger: float = 600.0
    """Seconds that the page stays when all is learned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior is None:
            check_members(self.config, self.ensemble)
        for name in ("ahead", "overlap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"port must be from 1 to 65535, but is {self.port}")
        if self.linger < 0:
            raise ValueError(f"linger must be 0 or more, but is {self.linger}")
        if self.host not in LOOPBACK and not self.annotators and self.replay is None:
            raise ValueError(
                f"whoever reaches {self.host} could answer: name people (--annotators ANA BEN), "
                "each of whom gets a token, or leave --host as it is"
            )
        if self.learn_from and self.annotators and self.learn_from not in self.annotators:
            raise ValueError(
                f"learn_from names {self.learn_from}, who is none of the annotators: "
                f"{', '.join(self.annotators)}"
            )
        if len(set(self.annotators)) < len(self.annotators):
            raise ValueError("annotators must have different names")
        if self.env is not None and self.prior is not None:
            raise ValueError(f"--prior is for task families, and --env {self.env} is one task")
        if self.demonstrations is not None and self.prior is not None:
            raise ValueError(
                "a prior's policy is told what is wanted, and is not cloned: demonstrations are "
                "for lessons from scratch"
            )
        if self.config.watch.every:
            raise ValueError(
                "people are asked about the newest behaviour all along: watch.every is for rlhf "
                "and adapt, whose questions end before practice does"
            )
        if self.wait and self.config.labels % self.config.rounds:
            raise ValueError(
                f"with wait, labels = {self.config.labels} must be a multiple of rounds = "
                f"{self.config.rounds}"
            )

    @property
    def directory(self) -> Path:
        """Where the run lives."""
        return self.run_dir or Path("runs") / f"teach-{file_name(self.name)}"

    @property
    def url(self) -> str:
        """Where its labels are."""
        named = self.database or os.environ.get(lesson_directory.LABELS)
        return lesson_directory.url_of(self.directory, named)


def presets(said: Said) -> Teach:
    """The defaults where so much is said: those of the simulator, of the prior, or of the family.

    Raises:
        UserError: people cannot teach from such a prior.
    """
    where, folder = named(said, "navigation"), said.get("prior")
    if where["family"] is None:
        return Teach(**where, config=BESIDE)
    if folder is None:
        return Teach(**where, config=preset(where["family"]).few_labels)
    prior = load_prior(folder, said.get("family"))
    if prior.by_gradient:
        raise UserError(
            f"{folder} adapts by gradient steps: people teach from a prior that holds a "
            "belief about tasks, as metarlhf meta-train makes with --method posterior, or from none"
        )
    family, kind = prior.family.name, said.get("preset", "ten")
    return Teach(family=family, prior=folder, preset=kind, config=getattr(preset(family), kind))


def read(argv: Sequence[str]) -> Teach:
    """The options that a command line says.

    Raises:
        UserError: what cannot be.
    """
    options = parse(Teach, argv, "teach", presets)
    if options.prior is not None:
        # As it was meta-trained on: a shorter name of it may have been said.
        return replace(options, family=load_prior(options.prior).family.name)
    return with_family(options)
