"""The loop's side of the store: runs, clips, questions, answers, and which of them it learned from.

`run` is a run's number, and `annotator` a person's name: their answers alone.
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, select, update

from metarlhf.errors import LabelError
from metarlhf.teach import tables
from metarlhf.teach.answering import QUESTION
from metarlhf.teach.database import number_of
from metarlhf.teach.people import krippendorff_alpha
from metarlhf.teach.records import (
    Answer,
    Clip,
    Correction,
    NewQuestion,
    Question,
    digest,
    pack,
    pack_replay,
    unpack,
)


def new_run(
    connection: Connection, family: str, about: dict[str, Any], run: str | None = None
) -> str:
    """Begin a run.

    Args:
        connection: a transaction that writes.
        family: whose tasks it is about.
        about: what it was begun with; anything that JSON can hold.
        run: its number; made up unless it is given.

    Returns:
        Its number.
    """
    run = run or secrets.token_hex(16)
    row = {"id": run, "family": family, "about": about, "status": {}, "made_at": time.time()}
    connection.execute(insert(tables.runs).values(revision=0, **row))
    return run


def set_status(connection: Connection, run: str, status: dict[str, Any]) -> None:
    """What the loop does now, for the page; `metarlhf.teach.questions.status` reads it."""
    connection.execute(
        update(tables.runs)
        .where(tables.runs.c.id == run)
        .values(status=status, revision=tables.runs.c.revision + 1)
    )


def keep(connection: Connection, run: str, clip: Clip) -> int:
    """Keep a clip, once however often it comes; returns its number."""
    blob = pack(clip.arrays)
    known = digest(blob)
    table = tables.clips
    same = (table.c.run_id == run) & (table.c.digest == known) & (table.c.source == clip.source)
    found = connection.execute(select(table.c.id).where(same)).scalar()
    if found is not None:
        return found
    row = {
        "run_id": run,
        "digest": known,
        "source": clip.source,
        "round": clip.round,
        "arrays": blob,
        "scene": clip.scene,
        "replay": None if clip.replay is None else pack_replay(clip.replay),
        "made_at": time.time(),
    }
    return number_of(connection.execute(insert(table).values(**row)))


def ask(connection: Connection, run: str, questions: Sequence[NewQuestion]) -> list[int]:
    """Ask questions. Which clip of two is shown on the left is drawn by lot and kept on record.

    Returns:
        Their numbers.
    """
    numbers = []
    for question in questions:
        first = keep(connection, run, question.first)
        second = keep(connection, run, question.second) if question.second else None
        swapped = second is not None and secrets.randbits(1) == 1
        row = {
            "run_id": run,
            "kind": question.kind,
            "left_id": second if swapped else first,
            "right_id": first if swapped else second,
            "swapped": swapped,
            "predicted": question.predicted,
            "gain": question.gain,
            "overlap": question.overlap,
            "wanted": question.overlap,
            "round": question.round,
            "asked_at": time.time(),
        }
        numbers.append(number_of(connection.execute(insert(tables.questions).values(**row))))
    return numbers


def withdraw(connection: Connection, run: str, before_round: int | None = None) -> int:
    """Withdraw what was asked before a round and nobody has looked at; without a round, all.

    A question that somebody has, or has answered, stays: theirs is never taken from under them.

    Returns:
        How many were withdrawn.
    """
    table = tables.questions
    gone = (table.c.run_id == run) & (table.c.wanted > 0)
    if before_round is not None:
        gone &= _untouched(before_round)
    values = {"wanted": 0, "withdrawn_at": time.time()}
    return connection.execute(update(table).where(gone).values(**values)).rowcount


def staying(connection: Connection, run: str, before_round: int) -> int:
    """How many more answers those questions are good for that `withdraw` would leave."""
    return open_questions(connection, run, ~_untouched(before_round))


def _untouched(before_round: int) -> ColumnElement[bool]:
    """Of earlier rounds, with nobody now, and answered by nobody."""
    questions, leases, answers = tables.questions, tables.leases, tables.answers
    mine = leases.c.question_id == questions.c.id
    leased = exists().where(and_(mine, leases.c.until > time.time()))
    said = exists().where(answers.c.question_id == questions.c.id)
    return and_(questions.c.round < before_round, ~leased, ~said)


def record_taken(
    connection: Connection, run: str, iteration: int, answers: list[int], corrections: list[int]
) -> None:
    """Note that from this iteration on the loop learns from exactly these answers.

    An iteration that is done again after a stop replaces what it had noted, and what came later.
    """
    later = (tables.taken.c.run_id == run) & (tables.taken.c.iteration >= iteration)
    connection.execute(delete(tables.taken).where(later))
    row = {"run_id": run, "iteration": iteration, "answers": answers, "corrections": corrections}
    connection.execute(insert(tables.taken).values(**row))


def forget_taken(connection: Connection, run: str, kept: int) -> None:
    """Strike from the record what was taken in after the first `kept` times: it is done again."""
    table = tables.taken
    iterations = select(table.c.iteration).where(table.c.run_id == run).order_by("iteration")
    gone = list(connection.execute(iterations).scalars())[kept:]
    if gone:
        later = (table.c.run_id == run) & (table.c.iteration >= gone[0])
        connection.execute(delete(table).where(later))


def family_of(connection: Connection, run: str) -> str:
    """The family whose tasks a run is about.

    Raises:
        LabelError: there is no such run.
    """
    found = connection.execute(select(tables.runs.c.family).where(tables.runs.c.id == run)).scalar()
    if found is None:
        raise LabelError(f"there is no run {run!r} among these labels")
    return found


class Status(NamedTuple):
    """What the loop last said of itself, and a number that grows whenever it says something."""

    status: dict[str, Any]
    revision: int


class FeedbackVersion(NamedTuple):
    """Differs from an earlier one where anything was said or taken back since."""

    answers: int
    undone: int
    corrections: int


def status(connection: Connection, run: str) -> Status:
    """What the loop does now.

    Raises:
        LabelError: there is no such run.
    """
    table = tables.runs
    row = connection.execute(
        select(table.c.status, table.c.revision).where(table.c.id == run)
    ).first()
    if row is None:
        raise LabelError(f"there is no run {run!r} among these labels")
    return Status(row.status, row.revision)


def about(connection: Connection, run: str) -> dict[str, Any]:
    """What a run was begun with."""
    table = tables.runs
    return connection.execute(select(table.c.about).where(table.c.id == run)).scalar() or {}


def feedback_version(connection: Connection, run: str) -> FeedbackVersion:
    """How many answers and corrections there are."""
    answers, corrections = tables.answers, tables.corrections
    said = connection.execute(
        select(func.count(), func.count(answers.c.undone_at)).where(answers.c.run_id == run)
    ).one()
    marked = connection.execute(
        select(func.count()).where(corrections.c.run_id == run)
    ).scalar_one()
    return FeedbackVersion(said[0], said[1], marked)


def answers(
    connection: Connection,
    run: str,
    annotator: str | None = None,
    numbers: Iterable[int] | None = None,
) -> list[Answer]:
    """Answers in the order in which they came: those that stand, or those of these `numbers`."""
    table, people = tables.answers, tables.annotators
    query = (
        select(table, people.c.name, *(column.label(f"q_{column.key}") for column in QUESTION))
        .join(people, people.c.id == table.c.annotator_id)
        .join(tables.questions, tables.questions.c.id == table.c.question_id)
        .where(table.c.run_id == run)
        .order_by(table.c.id)
    )
    if numbers is None:
        query = query.where(table.c.undone_at.is_(None))
    else:
        query = query.where(table.c.id.in_(list(numbers)))
    if annotator is not None:
        query = query.where(people.c.name == annotator)
    return [_answer(row._mapping) for row in connection.execute(query)]


def _answer(row: Any) -> Answer:
    question = {name[2:]: value for name, value in row.items() if name.startswith("q_")}
    names = ("id", "preference", "mark", "levels", "skipped", "seconds", "given_at")
    kept = {name: row[name] for name in names}
    return Answer(question=Question(**question), annotator=row["name"], **kept)


def corrections(
    connection: Connection,
    run: str,
    annotator: str | None = None,
    numbers: Iterable[int] | None = None,
) -> list[Correction]:
    """Moments that somebody called bad: all, or those of these `numbers`."""
    table, people = tables.corrections, tables.annotators
    query = (
        select(table.c.id, table.c.clip_id, table.c.step, people.c.name, table.c.given_at)
        .join(people, people.c.id == table.c.annotator_id)
        .where(table.c.run_id == run)
        .order_by(table.c.id)
    )
    if numbers is not None:
        query = query.where(table.c.id.in_(list(numbers)))
    if annotator is not None:
        query = query.where(people.c.name == annotator)
    return [Correction(*row) for row in connection.execute(query)]


def arrays(connection: Connection, clips: Iterable[int]) -> dict[int, dict[str, np.ndarray]]:
    """What clips hold, by their numbers."""
    table = tables.clips
    wanted, found = sorted(set(clips)), {}
    for begin in range(0, len(wanted), 1_000):  # databases bound how many they may be asked for
        some = table.c.id.in_(wanted[begin : begin + 1_000])
        rows = connection.execute(select(table.c.id, table.c.arrays).where(some))
        found |= {row.id: unpack(row.arrays) for row in rows}
    return found


def questions(connection: Connection, run: str) -> list[Question]:
    """Everything that was ever asked, in order."""
    query = select(*QUESTION).where(tables.questions.c.run_id == run).order_by("id")
    return [Question(**row._mapping) for row in connection.execute(query)]


class Count(NamedTuple):
    """How many answers stand, skipped ones apart, and how many more are open to be given."""

    standing: int
    open: int


def count(connection: Connection, run: str, annotator: str | None = None) -> Count:
    """Of everybody, or the answers of one person."""
    given, people = tables.answers, tables.annotators
    stands = select(func.count()).where(
        given.c.run_id == run, given.c.undone_at.is_(None), ~given.c.skipped
    )
    if annotator is not None:
        stands = stands.join(people, people.c.id == given.c.annotator_id)
        stands = stands.where(people.c.name == annotator)
    return Count(connection.execute(stands).scalar_one(), open_questions(connection, run))


def open_questions(connection: Connection, run: str, *such: ColumnElement[bool]) -> int:
    """How many more answers what was asked is good for; of questions that are all of `such`."""
    table = tables.questions
    wanted = select(func.coalesce(func.sum(table.c.wanted), 0))
    open_ = connection.execute(wanted.where(table.c.run_id == run, table.c.wanted > 0, *such))
    return int(open_.scalar_one())


def taken(connection: Connection, run: str) -> dict[int, tuple[list[int], list[int]]]:
    """From which iteration on the loop learned from which answers and corrections."""
    table = tables.taken
    query = select(table).where(table.c.run_id == run).order_by(table.c.iteration)
    rows = connection.execute(query)
    return {row.iteration: (row.answers, row.corrections) for row in rows}


def foreseen(given: Iterable[Answer], newest: int = 20) -> float | None:
    """Share of the newest comparisons whose answer the model had foreseen before it was given.

    Answers that are neither left nor right are left out; None where none is left.
    """
    right = [answer.foreseen for answer in given if answer.foreseen is not None]
    return float(np.mean(right[-newest:])) if right else None


def agreement(given: Iterable[Answer]) -> float | None:
    """Krippendorff's alpha of all questions that several people answered."""
    units: dict[int, dict[str, float]] = defaultdict(dict)
    for answer in given:
        value = answer.preference if answer.mark is None else float(answer.mark)
        if value is not None:
            if answer.mark is not None:  # from 0 to 1, as preferences are
                value = (value - 1) / max(1, (answer.levels or 1) - 1)
            units[answer.question.id][answer.annotator] = value
    return krippendorff_alpha(units.values())
