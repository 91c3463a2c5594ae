"""`metarlhf teach`: people teach an agent what they like, on a page."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from metarlhf import files, meta, networks, reward, rlhf, runs, sampling
from metarlhf.cli import extras
from metarlhf.cli.environment import sampler_of
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
from metarlhf.cli.outcome import held_words, holding
from metarlhf.cli.parsing import Said, compute_in_the_foreground, parse
from metarlhf.cli.runs import open_run, say, show
from metarlhf.errors import UserError
from metarlhf.meta.presets import BESIDE, preset
from metarlhf.reward.config import EnsembleConfig
from metarlhf.rlhf.config import CloningConfig, RLHFConfig
from metarlhf.teach import directory, supervise
from metarlhf.teach.web import LOOPBACK

if TYPE_CHECKING:
    from metarlhf.rlhf.demonstrations import Demonstrations
    from metarlhf.teach.session import TeachingSession
    from metarlhf.teach.simulator import Replays
    from metarlhf.training import Loop

# So long the report waits for the film of what the agent does in the end, in seconds.
LAST_FILM = 60.0
# What does not decide what a lesson is: it goes on with others, too.
PASSING = ("labels", "host", "port", "annotators", "linger", "ahead")


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
        named = self.database or os.environ.get(directory.LABELS)
        return directory.url_of(self.directory, named)


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
    compute_in_the_foreground()
    prior = meta.load_prior(folder, said.get("family"))
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
        return replace(options, family=meta.load_prior(options.prior).family.name)
    return with_family(options)


def main(argv: Sequence[str]) -> int:
    """Run the command: this process watches over others, the page's and the agent's."""
    extras.must_have_page()
    options = read(argv)
    if options.env is not None:
        extras.must_have_film()
    if supervise.is_agent() or options.replay is not None:
        return train(options)
    return supervise.Supervisor(
        command=[sys.executable, "-c", "from metarlhf.cli import run; run()", "teach", *argv],
        directory=options.directory, labels=options.url, resume=options.resume,
        host=options.host, port=options.port, annotators=options.annotators,
        linger=options.linger, env=options.env,
    ).run()  # fmt: skip


def train(options: Teach) -> int:
    """The agent's side: ask, take answers, learn, publish what came of it."""
    from metarlhf.teach import Database
    from metarlhf.teach.session import TeachingSession
    from metarlhf.teach.teacher import HumanTeacher

    with ExitStack() as stack:
        # Before there is a directory: what cannot be made leaves none behind.
        sampler, replays = stack.enter_context(_sampler(options))
        shown = sampler.without_termination().shown
        start, demonstrations = _beginning(options, sampler)
        name = f"teach-{file_name(options.name)}"
        run = stack.enter_context(open_run(options, name, passing=PASSING))
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        database = stack.enter_context(closing(Database(options.url)))
        about = _about(options)
        number = directory.begin(run.path, database, options.url, shown.name, about)
        teacher = HumanTeacher(
            database, number, shown, annotator=options.learn_from, overlap=options.overlap
        )
        recorded = None
        if options.replay:
            labels = stack.enter_context(directory.open_labels(Path(options.replay), None))
            recorded = teacher.replay(*labels, about)
            say(f"doing {options.replay} again: {len(recorded)} times something was said")
        session = TeachingSession(
            teacher, sampler, options.config, replays=replays, ahead=options.ahead,
            wait=options.wait, recorded=recorded,
            demonstrated=demonstrations.clips if demonstrations else None,
        )  # fmt: skip
        loop = session.training(start)
        state = runs.drive(run, "teaching", replace(loop, ready=partial(_ready, loop)))
        return _publish(options, run, session, state)


def _publish(
    options: Teach, run: runs.RunDirectory, session: TeachingSession, state: rlhf.RLHFState
) -> int:
    """Write the agent, its reward and a report, and say so."""
    from metarlhf.teach.report import write_report

    rows, teacher, shown = run.metrics.rows, session.teacher, session.sampler.shown
    agent = networks.publish_agent(run.path / "agent", state.ppo.agent, shown.name)
    reward.publish_reward(run.path / "reward", session.reward_record(state))
    result = {
        "command": "teach",
        **session.result(state, rows),
        "labels_run": teacher.run,
        **holding(rows),
        "agent": str(agent),
    }
    film = teacher.last_film(0.0 if options.replay else LAST_FILM)
    answers, _ = teacher.all_feedback()
    report = write_report(run.path / "report.html", shown, session.status, answers, result, film)
    session.status.finish(state)
    result = run.finish(result)
    line = (
        f"{result['labels']} answers, {result['steps']} steps; the agent is in {agent}, the report "
        f"in {report}"
    )
    return show(result, [line, *held_words(result, options.config)], options.json)


@contextmanager
def _sampler(options: Teach) -> Iterator[tuple[sampling.Sampler, Replays | None]]:
    """Who acts in what is named, and how a simulator is filmed, while that runs.

    Raises:
        UserError, SimulatorError, UnknownTaskError: there is no such thing, or it is of no use.
    """
    num_envs = options.config.ppo.num_envs
    if options.env is None:
        with sampler_of(options, num_envs, 1, options.seed) as sampler:
            yield sampler, None
        return
    from metarlhf.teach.simulator import filmed_simulator

    extras.must_have_film()
    parts = options.env, num_envs, options.workers, options.segment_length
    with filmed_simulator(*parts) as both:
        yield both


def _beginning(
    options: Teach, sampler: sampling.Sampler
) -> tuple[Callable[[], rlhf.RLHFState], Demonstrations | None]:
    """How the agent begins, and what somebody showed before.

    Raises:
        PublishedFileError: the prior or the demonstrations cannot be read.
    """
    import equinox as eqx
    import jax

    from metarlhf.rlhf.demonstrations import read_demonstrations

    key, config = jax.random.key(options.seed), options.config
    if options.prior is not None:
        prior = meta.load_prior(options.prior)
        assert isinstance(prior, meta.PosteriorPrior)  # as the options were read
        parts = prior.agent, prior.belief, config, prior.library
        return lambda: eqx.filter_jit(rlhf.start)(key, sampler, *parts), None
    start = lambda: rlhf.from_scratch(key, sampler, config, options.ensemble)
    if options.demonstrations is None:
        return start, None
    shown = read_demonstrations(options.demonstrations, sampler.without_termination().shown)
    return lambda: rlhf.begin_cloned(key, start(), shown, options.cloning), shown


def _about(options: Teach) -> dict[str, str]:
    """All that decides what a lesson is but what people say."""
    prior = files.digest(options.prior) if options.prior else None
    parts = {"seed": options.seed, "number": options.task, "config": options.config}
    shown = options.demonstrations
    shown = hashlib.sha256(shown.read_bytes()).hexdigest() if shown else None
    parts |= {"demonstrations": shown, "cloning": options.cloning}
    parts |= {"prior": prior, "ensemble": options.ensemble, "wait": options.wait}
    if options.env is not None:
        parts |= {"env": options.env, "segment_length": options.segment_length}
    return {name: repr(value) for name, value in parts.items()}


def _ready(loop: Loop, state: rlhf.RLHFState) -> bool:
    if supervise.is_orphan():
        os.kill(os.getpid(), signal.SIGINT)  # save, and end as by Ctrl-C
    return loop.ready(state)
