"""`metarlhf teach`: people teach an agent what they like, on a page."""

import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from metarlhf import files, rlhf
from metarlhf.cli import extras
from metarlhf.cli.lesson_options import Teach, read
from metarlhf.cli.options import file_name
from metarlhf.cli.outcome import held_words, holding
from metarlhf.cli.runs import open_run, say, show
from metarlhf.errors import UserError
from metarlhf.networks import publish_agent
from metarlhf.reward import publish_reward, wrong_answers
from metarlhf.rlhf import RLHFState
from metarlhf.runs import RunDirectory, drive
from metarlhf.teach import directory, supervise
from metarlhf.teach.report import write_lesson
from metarlhf.training import Loop

# How many steps a lesson has, who knows: `over` decides.
UNBOUNDED = 10**9
# So long the report waits for the film of what the agent does in the end, in seconds.
LAST_FILM = 60.0
# What does not decide what a lesson is: it goes on with others, too.
PASSING = ("database", "host", "port", "annotators", "linger", "ahead")


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
    """The agent's side: put questions, take answers, learn, publish what came of it."""
    from metarlhf.cli.stages import beginning
    from metarlhf.teach import Database

    with ExitStack() as stack:
        # Before there is a directory: what cannot be made leaves none behind.
        begun = stack.enter_context(beginning(options))
        name = f"teach-{file_name(options.name)}"
        run = stack.enter_context(open_run(options, name, passing=PASSING))
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        database = Database(options.url)
        stack.callback(database.close)
        return _lesson(options, run, begun, database, stack)


def _lesson(options: Teach, run: RunDirectory, begun: Any, database: Any, stack: ExitStack) -> int:
    from metarlhf.teach import questions
    from metarlhf.teach.lesson import Lesson
    from metarlhf.teach.teacher import HumanTeacher

    config, shown = options.config, begun.stage.shown
    number = _begin(options, run, shown.name, database)
    teacher = HumanTeacher(
        database, number, shown, annotator=options.learn_from, overlap=options.overlap
    )
    lesson = Lesson(
        teacher, begun.stage, config, ahead=options.ahead, wait=options.wait,
        recorded=_recorded(options, teacher, stack) if options.replay else None,
        demonstrated=begun.demonstrations.clips if begun.demonstrations else None,
    )  # fmt: skip
    before = []  # what was believed at first, also of a lesson that goes on

    def begin() -> RLHFState:
        state = lesson.begin(begun.start)
        before.append(state.belief)
        return state

    loop = Loop(
        begin,
        lesson.step,
        UNBOUNDED,
        stop=lesson.over,
        ready=partial(_ready, lesson),
        restored=lambda state: lesson.resumed(state, run.metrics.rows),
        progress=("labels", config.labels),
    )
    state = drive(run, "teaching", loop)
    agent = publish_agent(run.path / "agent", state.ppo.agent, shown.name)
    people = teacher.people()
    publish_reward(run.path / "reward", rlhf.learned(before[0], state, shown, people))
    given, corrections = teacher.all_feedback()
    result = {
        "command": "teach",
        "family": shown.name,
        "labels": int(state.answers.count),
        "corrections": len(corrections),
        "people": sorted({one.annotator for one in given}),
        "minutes_of_looking": sum(one.seconds for one in given) / 60,
        "foreseen": questions.foreseen(given),
        "agreement": questions.agreement(given),
        "wrong": wrong_answers(state.belief, state.answers.feedback, people),
        "steps": int(state.steps),
        "updates": int(state.ppo.updates),
        "learned_return": lesson.status.learned_return,
        "labels_run": number,
        **({"cost": run.metrics.rows[-1].get("cost")} if config.never.clips else {}),
        **holding(run.metrics.rows),
        "agent": str(agent),
    }
    film = teacher.last_film(0.0 if options.replay else LAST_FILM)
    report = write_lesson(
        run.path / "report.html", shown, lesson.status.now, lesson.status.curve,
        [_told(one) for one in given], _facts(result), film,
    )  # fmt: skip
    lesson.status.finish(state)
    result = run.finish(result)
    line = (
        f"{result['labels']} answers, {result['steps']} steps; the agent is in {agent}, the report "
        f"in {report}"
    )
    return show(result, [line, *held_words(result, config)], options.json)


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
    if result["wrong"]:
        each = (f"{name} {share(wrong)}" for name, wrong in result["wrong"].items())
        facts["wrong answers, as far as the model can tell"] = ", ".join(each)
    if "cost" in result:
        facts["share of steps that must never be, by the model"] = (
            "-" if result["cost"] is None else f"{100 * result['cost']:.2f} %"
        )
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


def _begin(options: Teach, run: RunDirectory, name: str, database: Any) -> str:
    """The run's number among the labels, which the page's process reads, too."""
    from metarlhf.teach import questions

    known = directory.run_of(run.path)
    if known is not None:
        with database.read() as connection:
            questions.family_of(connection, known)
        return known
    with database.write() as connection:
        number = questions.new_run(connection, name, _about(options))
    directory.write(run.path, number, options.url)
    return number


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


def _ready(lesson: Any, state: RLHFState) -> bool:
    if supervise.is_orphan():
        os.kill(os.getpid(), signal.SIGINT)  # save, and end as by Ctrl-C
    return lesson.ready(state)


def _recorded(options: Teach, teacher: Any, stack: ExitStack) -> dict[int, Any]:
    """What was taken in when, of the lesson that is done again."""
    from metarlhf.teach import questions

    folder = Path(options.replay or "")
    source, number = stack.enter_context(directory.open_labels(folder, None))
    with source.read() as connection:
        about, wanted = questions.about(connection, number), _about(options)
        odd = sorted(name for name in wanted if about.get(name) != wanted[name])
        if odd:
            raise UserError(
                f"{folder} was another lesson: {', '.join(odd)} differ. Say what it was begun with"
            )
        found = {
            iteration: (
                questions.answers(connection, number, numbers=answers),
                questions.corrections(connection, number, numbers=corrections),
            )
            for iteration, (answers, corrections) in questions.taken(connection, number).items()
        }
    teacher.source = source, number
    say(f"doing {folder} again: {len(found)} times something was said")
    return found
