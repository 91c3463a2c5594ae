"""The loop's side of the store: runs, clips, questions, and which answers it has taken in."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    insert,
    select,
    update,
)

from metarlhf.labels import tables
from metarlhf.labels.blobs import digest, pack, pack_replay
from metarlhf.labels.database import number_of
from metarlhf.labels.errors import LabelError
from metarlhf.labels.reading import open_questions
from metarlhf.labels.records import Clip, NewQuestion


def new_run(
    connection: Connection, family: str, about: dict[str, Any], run: str | None = None
) -> str:
    """Begin a run; its number is made up unless it is given. `about` is anything JSON can hold."""
    run = run or secrets.token_hex(16)
    row = {"id": run, "family": family, "about": about, "status": {}, "made_at": time.time()}
    connection.execute(insert(tables.runs).values(revision=0, **row))
    return run


def set_status(connection: Connection, run: str, status: dict[str, Any]) -> None:
    """What the loop does now, for the page; `metarlhf.labels.reading.status` reads it."""
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
    """Put questions; returns their numbers.

    Which clip of two is shown on the left is drawn by lot and kept on record.
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
    """Take back what was asked before a round and nobody has looked at; returns how many.

    A question that somebody has, or has answered, stays: theirs is never taken from under them.
    Without a round all go, as when a lesson is over.
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
    held = exists().where(and_(mine, leases.c.until > time.time()))
    said = exists().where(answers.c.question_id == questions.c.id)
    return and_(questions.c.round < before_round, ~held, ~said)


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
