"""`metarlhf teach`: people teach an agent what they like, on a page."""

import hashlib
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax

from metarlhf import files, rlhf
from metarlhf.cli import supervise
from metarlhf.cli.options import TaskName, TrainOptions, file_name, open_run, parse, say, show
from metarlhf.cli.options import family_in as task_in
from metarlhf.cli.single import check_number, task_number
from metarlhf.envs import TaskFamily, make_family
from metarlhf.feedback.demonstrations import Demonstrations, read_demonstrations
from metarlhf.meta.presets import Preset, preset
from metarlhf.meta.prior import Prior, load
from metarlhf.networks import publish_agent
from metarlhf.report.lesson import write_lesson
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import CloningConfig, RLHFConfig, RLHFState
from metarlhf.runs import RunDirectory, UserError, drive

Kind = Literal["ten", "twenty", "ratings"]


@dataclass(frozen=True)
class Teach(TrainOptions):
    """Open a page on which a person teaches an agent, from scratch or from a prior."""

    task: TaskName = "navigation"
    """The task family; its preset is what the options below start from."""
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
        for name in ("ahead", "overlap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"port must be from 1 to 65535, but is {self.port}")
        if self.linger < 0:
            raise ValueError(f"linger must be 0 or more, but is {self.linger}")
        if self.host not in supervise.LOOPBACK and not self.annotators and self.replay is None:
            raise ValueError(
                f"whoever reaches {self.host} could answer: name people (--annotators ANA BEN), "
                "each of whom gets a token, or leave --host as it is"
            )
        if len(set(self.annotators)) < len(self.annotators):
            raise ValueError("annotators must have different names")
        if self.demonstrations is not None and self.prior is not None:
            raise ValueError(
                "a prior's policy is told what is wanted, and is not cloned: demonstrations are "
                "for lessons from scratch"
            )
        if self.wait and self.config.labels % self.config.rounds:
            raise ValueError(
                f"with wait, labels = {self.config.labels} must be a multiple of rounds = "
                f"{self.config.rounds}"
            )

    @property
    def directory(self) -> Path:
        """Where the run lives."""
        return self.run_dir or Path("runs") / f"teach-{file_name(self.task)}"

    @property
    def url(self) -> str:
        """Where its labels are."""
        return supervise.place(self.directory, self.labels or os.environ.get(supervise.LABELS))


# How many steps a lesson has, who knows: `over` decides.
UNBOUNDED = 10**9
# What does not decide what a lesson is: it goes on with others, too.
PASSING = ("labels", "host", "port", "annotators", "linger", "ahead")


def main(argv: Sequence[str]) -> int:
    """Run the command: this process watches over two others, the page's and the agent's."""
    supervise.must_have_page()
    options = read(argv)
    if supervise.PART in os.environ or options.replay is not None:
        return train(options)
    return supervise.watch(options, argv)


def read(argv: Sequence[str]) -> Teach:
    """The options; those of the prior or of the family are what the rest starts from.

    Raises:
        UserError: what cannot be.
    """
    first = parse(Teach, argv, "teach", _default(task_in(argv, Teach.task), "ten", None))
    if first.prior is None:
        return first
    prior = load(first.prior)
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


def train(options: Teach) -> int:
    """The agent's side: put questions, take answers, learn, publish what came of it."""
    from metarlhf.labels import Database

    family = make_family(options.task)
    with open_run(options, f"teach-{file_name(options.task)}", passing=PASSING) as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        database = Database(options.url)
        with ExitStack() as stack:
            stack.callback(database.close)
            return _lesson(options, run, family, database, stack)


def _lesson(
    options: Teach, run: RunDirectory, family: TaskFamily, database: Any, stack: ExitStack
) -> int:
    from metarlhf.labels import reading
    from metarlhf.labels.desk import Desk
    from metarlhf.labels.lesson import Lesson

    config = options.config
    number = _begin(options, run, family, database)
    desk = Desk(database, number, family, annotator=options.learn_from, overlap=options.overlap)
    task = task_number(family, options.number)
    prior = load(options.prior) if options.prior else None
    shown = None
    if options.demonstrations is not None:
        shown = read_demonstrations(options.demonstrations, family)
    lesson = Lesson(
        desk, family, task, config, ahead=options.ahead, wait=options.wait,
        recorded=_recorded(options, desk, stack) if options.replay else None,
        demonstrated=shown.clips if shown else None,
    )  # fmt: skip
    key = jax.random.key(options.seed)
    start = partial(_start, key, family, task, prior, options, shown)
    state = drive(
        run, "teaching", lambda: lesson.begin(start), lesson.step, UNBOUNDED,
        stop=lesson.over, ready=partial(_ready, lesson),
        restored=lambda state: lesson.resumed(state, run.metrics.rows),
        counted=("labels", config.labels),
    )  # fmt: skip
    agent = publish_agent(run.path / "agent", state.ppo.agent, family.name)
    given, corrections = lesson.desk.all_said()
    result = {
        "command": "teach",
        "family": family.name,
        "labels": int(state.answers.count),
        "corrections": len(corrections),
        "people": sorted({one.annotator for one in given}),
        "minutes_of_looking": sum(one.seconds for one in given) / 60,
        "foreseen": reading.foreseen(given),
        "agreement": reading.agreement(given),
        "steps": int(state.steps),
        "updates": int(state.ppo.updates),
        "learned_return": lesson.page.learned_return,
        "labels_run": number,
        "agent": str(agent),
    }
    report = write_lesson(
        run.path / "report.html", family, lesson.page.now, lesson.page.curve,
        [_told(one) for one in given], _facts(result),
    )  # fmt: skip
    lesson.page.finish(state)
    result = run.finish(result)
    line = (
        f"{result['labels']} answers, {result['steps']} steps; the agent is in {agent}, the report "
        f"in {report}"
    )
    return show(result, [line], options.json)


def _facts(result: dict[str, Any]) -> dict[str, str]:
    """What the report tells in a line each."""
    share = lambda value: "-" if value is None else f"{100 * value:.0f} %"
    facts = {
        "answers": str(result["labels"]),
        "moments called bad": str(result["corrections"]),
        "people": ", ".join(result["people"]),
        "time they looked": f"{result['minutes_of_looking']:.1f} minutes",
        "foreseen of the newest answers": share(result["foreseen"]),
        "steps of practice": f"{result['steps']:,}",
        "agent": result["agent"],
    }
    if result["agreement"] is not None:
        facts["agreement of people (Krippendorff's alpha)"] = f"{result['agreement']:.2f}"
    return facts


def _told(answer: Any) -> dict[str, str]:
    """An answer as the report tells it: left and right as they were shown."""
    question, said = answer.question, "can't tell"
    if answer.mark is not None:
        said = f"{answer.mark} of {answer.levels}"
    elif answer.preference is not None:
        shown = 1 - answer.preference if question.swapped else answer.preference
        said = {0.0: "left", 0.5: "equal", 1.0: "right"}[shown]
    return {
        "question": f"{question.kind} {question.id}",
        "said": said,
        "foreseen": {None: "-", True: "yes", False: "no"}[answer.foreseen],
        "by": answer.annotator,
        "seconds": f"{answer.seconds:.1f}",
    }


def _begin(options: Teach, run: RunDirectory, family: TaskFamily, database: Any) -> str:
    """The run's number among the labels, which the page's process reads, too."""
    from metarlhf.labels import asking
    from metarlhf.labels.database import without_password

    known = supervise.known(run.path)
    if known is not None:
        with database.read() as connection:
            asking.family_of(connection, known)
        return known
    with database.write() as connection:
        number = asking.new_run(connection, family.name, _about(options))
    written = {"run": number, "labels": without_password(options.url)}
    files.write_json(run.path / supervise.LESSON, written)
    return number


def _about(options: Teach) -> dict[str, str]:
    """All that decides what a lesson is but what people say."""
    prior = files.digest(options.prior) if options.prior else None
    parts = {"seed": options.seed, "number": options.number, "config": options.config}
    shown = options.demonstrations
    shown = hashlib.sha256(shown.read_bytes()).hexdigest() if shown else None
    parts |= {"demonstrations": shown, "cloning": options.cloning}
    parts |= {"prior": prior, "ensemble": options.ensemble, "wait": options.wait}
    return {name: repr(value) for name, value in parts.items()}


def _ready(lesson: Any, state: RLHFState) -> bool:
    if supervise.orphaned():
        os.kill(os.getpid(), signal.SIGINT)  # save, and end as by Ctrl-C
    return lesson.ready(state)


def _start(
    key, family, task, prior: Prior | None, options: Teach, shown: Demonstrations | None
) -> RLHFState:
    learning, config = family.without_termination(), options.config
    if prior is not None:
        return _from_prior(key, learning, task, prior, config)
    state = rlhf.from_scratch(key, learning, task, config, options.ensemble)
    if shown is None:
        return state
    agent = rlhf.clone(key, state.ppo.agent, shown.obs, shown.action, options.cloning)
    return eqx.tree_at(lambda s: s.ppo.agent, state, agent)


@partial(jax.jit, static_argnames=("family", "config"))
def _from_prior(key, family, task, prior, config):
    return rlhf.start(key, family, task, prior.agent, prior.belief, config, prior.library)


def _recorded(options: Teach, desk: Any, stack: ExitStack) -> dict[int, Any]:
    """What was taken in when, of the lesson that is done again; its clips go to the new desk."""
    from metarlhf.labels import reading

    folder = Path(options.replay or "")
    source, number = stack.enter_context(supervise.labels_of(folder, None))
    with source.read() as connection:
        about, wanted = reading.about(connection, number), _about(options)
        odd = sorted(name for name in wanted if about.get(name) != wanted[name])
        if odd:
            raise UserError(
                f"{folder} was another lesson: {', '.join(odd)} differ. Say what it was begun with"
            )
        found = {
            iteration: (
                reading.answers(connection, number, numbers=answers),
                reading.corrections(connection, number, numbers=corrections),
            )
            for iteration, (answers, corrections) in reading.taken(connection, number).items()
        }
    desk.said_in = source, number
    say(f"doing {folder} again: {len(found)} times something was said")
    return found
