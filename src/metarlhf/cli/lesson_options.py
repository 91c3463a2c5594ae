"""What can be chosen about a lesson, and what of it the rest follows from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from metarlhf.cli.options import TaskName, TrainOptions, file_name, parse, value_in
from metarlhf.cli.options import family_in as task_in
from metarlhf.cli.single import check_env, check_members, check_number, must_step_beside
from metarlhf.envs import make_family
from metarlhf.envs.base import SEGMENT_LENGTH
from metarlhf.errors import UserError
from metarlhf.meta.presets import BESIDE, Preset, preset
from metarlhf.meta.prior import load_prior
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import CloningConfig, RLHFConfig
from metarlhf.teach import directory as lesson_directory
from metarlhf.teach.web import LOOPBACK

Kind = Literal["ten", "twenty", "ratings"]


@dataclass(frozen=True)
class Teach(TrainOptions):
    """Open a page on which a person teaches an agent, from scratch or from a prior."""

    task: TaskName = "navigation"
    """The task family; its preset is what the options below start from."""
    env: str | None = None
    """A simulator in its place: a Gymnasium id such as HalfCheetah-v5, or module:ID for one that
    your module registers. People are shown films of it. The options below start from settings of
    its own."""
    segment_length: int = SEGMENT_LENGTH
    """Steps of a film to be judged, with --env."""
    workers: Literal["sync", "async"] = "sync"
    """With --env: environments step in this process, or in a process for each core."""
    prior: Path | None = None
    """Folder that `metarlhf meta-train` published: then ten answers do."""
    preset: Kind = "ten"
    """With a prior: ten comparisons, twenty, or ten ratings."""
    number: int = 0
    """Which of the family's held-out tasks the agent acts in; what it pays is never looked at."""
    config: RLHFConfig = field(default_factory=RLHFConfig)
    """How the agent asks and learns."""
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    """The reward model, without a prior."""
    demonstrations: Path | None = None
    """File of episodes that show what is wanted (`metarlhf play RUN --record FILE` writes one): the
    policy begins as they are, and each of their clips counts as better than the agent's own."""
    cloning: CloningConfig = field(default_factory=CloningConfig)
    """How the policy is fitted to them."""
    wait: bool = False
    """Ask a round at a time and do nothing until it is answered, as studies want it."""
    ahead: int = 3
    """Answers that open questions are good for, at least; several people need more."""
    overlap: int = 1
    """People that each question is for."""
    learn_from: str | None = None
    """Learn from this person's answers alone; from everybody's unless named."""
    replay: str | None = None
    """Do a lesson again without its people: the directory of its run."""
    labels: str | None = None
    """Where labels are kept, sqlite:///PATH or postgresql://USER@HOST/NAME; in the run's directory
    unless named."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own needs --annotators."""
    port: int = 8765
    """Port of the page."""
    annotators: tuple[str, ...] = ()
    """Names of people, each of whom gets a token, shown once."""
    linger: float = 600.0
    """How long the page stays when all is learned, in seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.number)
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
        check_env(self)
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
    def name(self) -> str:
        """Of what is taught: a family's, or a simulator's."""
        return self.env or self.task

    @property
    def directory(self) -> Path:
        """Where the run lives."""
        return self.run_dir or Path("runs") / f"teach-{file_name(self.name)}"

    @property
    def url(self) -> str:
        """Where its labels are."""
        named = self.labels or os.environ.get(lesson_directory.LABELS)
        return lesson_directory.url_of(self.directory, named)


def read(argv: Sequence[str]) -> Teach:
    """The options; those of the prior or of the family are what the rest starts from.

    Raises:
        UserError: what cannot be.
    """
    env = value_in(argv, "--env")
    if env is not None:
        must_step_beside(argv, env)
        return parse(Teach, argv, "teach", Teach(env=env, config=BESIDE))
    first = parse(Teach, argv, "teach", _default(task_in(argv, Teach.task), "ten", None))
    if first.prior is None:
        return first
    prior = load_prior(first.prior)
    if prior.by_gradient:
        raise UserError(
            f"{first.prior} adapts by gradient steps: people teach from a prior that holds a "
            "belief about tasks, as metarlhf meta-train makes with --method posterior, or from none"
        )
    usual = _default(prior.family.name, first.preset, first.prior)
    options = parse(Teach, argv, "teach", usual)
    if make_family(options.task).name != prior.family.name:
        raise UserError(
            f"the prior in {first.prior} is for {prior.family.name}, not for {options.task}"
        )
    return replace(options, task=prior.family.name)


def _default(task: str, kind: Kind, prior: Path | None) -> Teach:
    presets: Preset = preset(task)
    config = presets.few_labels if prior is None else getattr(presets, kind)
    return Teach(task=task, config=config)
