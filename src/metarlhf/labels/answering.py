"""The people's side of the store: a question for a while, an answer for good, and taking it back.

Everything here is one transaction of the caller's: what is returned counts once that has ended.
"""

import time
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update

from metarlhf.labels import tables
from metarlhf.labels.database import number_of
from metarlhf.labels.errors import Refused
from metarlhf.labels.records import Lease, Question

# How long a question stays with somebody who does not answer, in seconds.
LEASE = 120.0
LEVELS = 10

QUESTION = (
    tables.questions.c.id,
    tables.questions.c.kind,
    tables.questions.c.left_id.label("left"),
    tables.questions.c.right_id.label("right"),
    tables.questions.c.swapped,
    tables.questions.c.predicted,
    tables.questions.c.round,
)


def lease(
    connection: Connection, run: str, annotator: int, kind: str | None = None
) -> Lease | None:
    """A question for this person: the one they have, or the most telling of the newest round.

    None where there is nothing to ask of them now. Nobody else gets it meanwhile, unless it is for
    several; what comes back is given to somebody else after `LEASE` seconds.
    """
    now = time.time()
    questions, leases, answers = tables.questions, tables.leases, tables.answers
    mine = select(leases.c.question_id).where(
        leases.c.annotator_id == annotator, leases.c.until > now
    )
    said = exists().where(
        answers.c.question_id == questions.c.id,
        answers.c.annotator_id == annotator,
        answers.c.undone_at.is_(None),
    )
    held = (
        select(func.count())
        .where(
            leases.c.question_id == questions.c.id,
            leases.c.annotator_id != annotator,
            leases.c.until > now,
        )
        .scalar_subquery()
    )
    wanted = and_(
        questions.c.run_id == run,
        questions.c.wanted > 0,
        ~said,
        or_(questions.c.id.in_(mine), held < questions.c.wanted),
    )
    if kind is not None:
        wanted = and_(wanted, questions.c.kind == kind)
    row = connection.execute(
        select(*QUESTION)
        .where(wanted)
        .order_by(
            questions.c.id.in_(mine).desc(),
            questions.c.round.desc(),
            questions.c.gain.desc(),
            questions.c.id,
        )
        .limit(1)
        .with_for_update(of=questions, skip_locked=True)
    ).first()
    if row is None:
        return None
    until = now + LEASE
    connection.execute(
        delete(leases).where(
            leases.c.annotator_id == annotator,
        )
    )
    connection.execute(
        insert(leases).values(question_id=row.id, annotator_id=annotator, until=until)
    )
    question = Question(**row._mapping)
    return Lease(question, until, scenes(connection, [question.left, question.right]))


def scenes(connection: Connection, clips: list[int | None]) -> dict[int, dict[str, Any] | None]:
    """How each clip is drawn."""
    wanted = [clip for clip in clips if clip is not None]
    table = tables.clips
    rows = connection.execute(select(table.c.id, table.c.scene).where(table.c.id.in_(wanted)))
    return {row.id: row.scene for row in rows}


def answer(
    connection: Connection,
    run: str,
    annotator: int,
    question: int,
    request: str,
    seconds: float,
    *,
    choice: str | None = None,
    mark: int | None = None,
) -> int:
    """Keep an answer; returns its number.

    `choice` is "left", "right", "equal" or "skip", of a comparison as it was shown; `mark` is one
    of 1 to 10, of a rating, which may be skipped too. `request` is whatever the asker calls this
    answer: the same again, as after a lost connection, keeps nothing and returns the same number.

    Raises:
        Refused: there is no such question for them, they have answered it, or not like that.
    """
    answers = tables.answers
    again = connection.execute(
        select(answers.c.id, answers.c.question_id).where(
            answers.c.annotator_id == annotator, answers.c.request == request
        )
    ).first()
    if again is not None:
        if again.question_id != question:
            raise Refused(f"the request {request!r} was an answer to another question")
        return again.id
    row = connection.execute(
        select(*QUESTION)
        .where(tables.questions.c.id == question, tables.questions.c.run_id == run)
        .with_for_update(of=tables.questions)
    ).first()
    if row is None:
        raise Refused(f"there is no question {question} here")
    standing = connection.execute(
        select(answers.c.id).where(
            answers.c.question_id == question,
            answers.c.annotator_id == annotator,
            answers.c.undone_at.is_(None),
        )
    ).first()
    if standing is not None:
        raise Refused(f"you have answered question {question} already: take that back first")
    values = _values(row.kind, row.swapped, choice, mark)
    table = tables.questions
    one_less = update(table).where(table.c.id == question, table.c.wanted > 0)
    if connection.execute(one_less.values(wanted=table.c.wanted - 1)).rowcount == 0:
        raise Refused(
            f"question {question} is open no more: somebody else has answered it, or it was taken "
            "back"
        )
    connection.execute(
        delete(tables.leases).where(
            tables.leases.c.question_id == question, tables.leases.c.annotator_id == annotator
        )
    )
    kept = connection.execute(
        insert(answers).values(
            run_id=run,
            question_id=question,
            annotator_id=annotator,
            request=request,
            seconds=seconds,
            given_at=time.time(),
            **values,
        )
    )
    return number_of(kept)


def _values(kind: str, swapped: bool, choice: str | None, mark: int | None) -> dict[str, Any]:
    """An answer as it is kept: for the loop's order of clips, whatever was shown where."""
    nothing = {"preference": None, "mark": None, "levels": None, "skipped": False}
    if choice == "skip":
        return nothing | {"skipped": True}
    if kind == "rating":
        if mark is None or not 1 <= mark <= LEVELS:
            raise Refused(f"this question asks for a mark from 1 to {LEVELS}")
        return nothing | {"mark": mark, "levels": LEVELS}
    shown = {"left": 0.0, "right": 1.0, "equal": 0.5}.get(choice or "")
    if shown is None:
        raise Refused("this question asks for left, right, equal or skip")
    return nothing | {"preference": 1.0 - shown if swapped else shown}


def undo(connection: Connection, run: str, annotator: int) -> int | None:
    """Take back this person's newest answer that stands; returns the question, theirs again.

    None where there is nothing to take back. The answer stays on record.
    """
    answers, now = tables.answers, time.time()
    newest = connection.execute(
        select(answers.c.id, answers.c.question_id)
        .where(
            answers.c.run_id == run,
            answers.c.annotator_id == annotator,
            answers.c.undone_at.is_(None),
        )
        .order_by(answers.c.id.desc())
        .limit(1)
    ).first()
    if newest is None:
        return None
    connection.execute(update(answers).where(answers.c.id == newest.id).values(undone_at=now))
    table = tables.questions
    connection.execute(
        update(table).where(table.c.id == newest.question_id).values(wanted=table.c.wanted + 1)
    )
    leases = tables.leases
    connection.execute(delete(leases).where(leases.c.annotator_id == annotator))
    connection.execute(
        insert(leases).values(
            question_id=newest.question_id, annotator_id=annotator, until=now + LEASE
        )
    )
    return newest.question_id


def correct(
    connection: Connection, run: str, annotator: int, clip: int, step: int, request: str
) -> int:
    """Mark a moment of a clip as bad; returns the correction's number. The same again is one.

    Raises:
        Refused: there is no such clip, or it has no such step.
    """
    table = tables.corrections
    again = connection.execute(
        select(table.c.id).where(table.c.annotator_id == annotator, table.c.request == request)
    ).scalar()
    if again is not None:
        return again
    found = connection.execute(
        select(tables.clips.c.scene).where(tables.clips.c.id == clip, tables.clips.c.run_id == run)
    ).first()
    if found is None:
        raise Refused(f"there is no clip {clip} here")
    steps = (found.scene or {}).get("steps", 0)
    if not 0 <= step < steps:
        raise Refused(f"clip {clip} has steps 0 to {steps - 1}, not {step}")
    row = {"run_id": run, "clip_id": clip, "step": step, "annotator_id": annotator}
    kept = connection.execute(insert(table).values(request=request, given_at=time.time(), **row))
    return number_of(kept)
