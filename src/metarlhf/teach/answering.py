"""The people's side of the store: a question for a while, an answer for good, and taking it back.

Everything here is one transaction of the caller's: what is returned counts once that has ended.
`run` and `annotator` are the numbers of a run and of a person; `request` is whatever the asker
calls what it sends: the same again, as after a lost connection, changes nothing more.
"""

import time
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from metarlhf.errors import Refused
from metarlhf.teach import tables
from metarlhf.teach.database import number_of
from metarlhf.teach.records import Lease, Question

# How long a question stays with somebody who does not answer, in seconds.
_LEASE = 120.0
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


def lease(connection: Connection, run: str, annotator: int) -> Lease | None:
    """A question for this person: the one they have, or the most telling of the newest round.

    Nobody else gets it for `_LEASE` seconds, unless it is for several.

    Returns:
        The question, with how its clips are drawn; None where there is nothing to ask of them now.
    """
    now = time.time()
    row = connection.execute(_BEST, {"run": run, "annotator": annotator, "now": now}).first()
    if row is None:
        return None
    question = Question(**row._mapping)
    _hold(connection, question.id, annotator, now)
    clips = tables.clips
    drawn = select(clips.c.id, clips.c.scene).where(clips.c.id.in_(question.shown))
    scenes = {row.id: row.scene for row in connection.execute(drawn)}
    return Lease(question, now + _LEASE, scenes)


def _best_question() -> Select:
    """Built once: that takes longer than the database takes to answer."""
    questions, leases, answers = tables.questions, tables.leases, tables.answers
    annotator, now = bindparam("annotator"), bindparam("now")
    mine = exists().where(
        leases.c.question_id == questions.c.id,
        leases.c.annotator_id == annotator,
        leases.c.until > now,
    )
    # Counted question by question: PostgreSQL makes a join of what merely exists, and then goes
    # through everything that this person ever said.
    said = (
        select(func.count())
        .where(
            answers.c.question_id == questions.c.id,
            answers.c.annotator_id == annotator,
            answers.c.undone_at.is_(None),
        )
        .scalar_subquery()
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
    return (
        select(*QUESTION)
        .where(
            questions.c.run_id == bindparam("run"),
            questions.c.wanted > 0,
            said == 0,
            or_(mine, held < questions.c.wanted),
        )
        .order_by(mine.desc(), questions.c.round.desc(), questions.c.gain.desc(), questions.c.id)
        .limit(1)
        .with_for_update(of=questions, skip_locked=True)
    )


_BEST = _best_question()


def _hold(connection: Connection, question: int, annotator: int, now: float) -> None:
    """Nobody has more than one question at a time."""
    held = {"question": question, "annotator": annotator, "until": now + _LEASE}
    connection.execute(_LET_GO, held)
    connection.execute(_HOLD, held)


_LET_GO = delete(tables.leases).where(tables.leases.c.annotator_id == bindparam("annotator"))
_HOLD = insert(tables.leases).values(
    question_id=bindparam("question"),
    annotator_id=bindparam("annotator"),
    until=bindparam("until"),
)


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
    """Keep an answer.

    Args:
        connection: a transaction that writes.
        run: the run's number.
        annotator: the person's number.
        question: the question's number.
        request: the same again, as after a lost connection, keeps nothing more.
        seconds: how long the person looked.
        choice: "left", "right" or "equal", of a comparison as it was shown; "skip", of any.
        mark: of a rating, from 1 to `LEVELS`.

    Returns:
        The answer's number.

    Raises:
        Refused: there is no such question for them, they have answered it, or not like that.
    """
    named = {"run": run, "annotator": annotator, "question": question, "request": request}
    before = connection.execute(_SAID_BEFORE, named).all()
    for row in before:
        if row.request == request:
            if row.question_id != question:
                raise Refused(f"the request {request!r} was an answer to another question")
            return row.id
    row = connection.execute(_QUESTION_NOW, named).first()
    if row is None:
        raise Refused(f"there is no question {question} here")
    if before:
        raise Refused(f"you have answered question {question} already: take that back first")
    values = _values(row.kind, row.swapped, choice, mark)
    if connection.execute(_ONE_LESS, named).rowcount == 0:
        raise Refused(
            f"question {question} is open no more: somebody else has answered it, or it was taken "
            "back"
        )
    connection.execute(_LET_GO, named)
    row = {"run_id": run, "question_id": question, "annotator_id": annotator, "request": request}
    row |= {"seconds": seconds, "given_at": time.time(), **values}
    return number_of(connection.execute(insert(tables.answers), row))


_SAID_BEFORE = select(
    tables.answers.c.id, tables.answers.c.question_id, tables.answers.c.request
).where(
    tables.answers.c.annotator_id == bindparam("annotator"),
    or_(
        tables.answers.c.request == bindparam("request"),
        and_(
            tables.answers.c.question_id == bindparam("question"),
            tables.answers.c.undone_at.is_(None),
        ),
    ),
)
_QUESTION_NOW = (
    select(*QUESTION)
    .where(
        tables.questions.c.id == bindparam("question"),
        tables.questions.c.run_id == bindparam("run"),
    )
    .with_for_update(of=tables.questions)
)
_ONE_LESS = (
    update(tables.questions)
    .where(tables.questions.c.id == bindparam("question"), tables.questions.c.wanted > 0)
    .values(wanted=tables.questions.c.wanted - 1)
)


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


def undo(connection: Connection, run: str, annotator: int, request: str) -> int | None:
    """Take back this person's newest answer that stands. It stays on record.

    Returns:
        The number of its question, theirs again; None where there is nothing to take back.
    """
    answers, now = tables.answers, time.time()
    own = (answers.c.run_id == run) & (answers.c.annotator_id == annotator)
    again = select(answers.c.question_id).where(own, answers.c.undone_by == request)
    before = connection.execute(again).scalar()
    if before is not None:
        return before
    newest = connection.execute(
        select(answers.c.id, answers.c.question_id)
        .where(own, answers.c.undone_at.is_(None))
        .order_by(answers.c.id.desc())
        .limit(1)
    ).first()
    if newest is None:
        return None
    undone = {"undone_at": now, "undone_by": request}
    connection.execute(update(answers).where(answers.c.id == newest.id).values(**undone))
    table = tables.questions
    connection.execute(
        update(table).where(table.c.id == newest.question_id).values(wanted=table.c.wanted + 1)
    )
    _hold(connection, newest.question_id, annotator, now)
    return newest.question_id


def correct(
    connection: Connection, run: str, annotator: int, clip: int, step: int, request: str
) -> int:
    """Call a step of a clip bad.

    Returns:
        The correction's number.

    Raises:
        Refused: there is no such clip, or it has no such step.
    """
    table = tables.corrections
    again = connection.execute(
        select(table.c.id, table.c.clip_id, table.c.step).where(
            table.c.annotator_id == annotator, table.c.request == request
        )
    ).first()
    if again is not None:
        if (again.clip_id, again.step) != (clip, step):
            raise Refused(f"the request {request!r} was about another moment")
        return again.id
    found = connection.execute(
        select(tables.clips.c.scene).where(
            tables.clips.c.id == clip,
            tables.clips.c.run_id == run,
            tables.clips.c.source != "now",  # which is shown, and not asked about
        )
    ).first()
    if found is None:
        raise Refused(f"there is no clip {clip} here")
    steps = (found.scene or {}).get("steps", 0)
    if not steps:
        raise Refused(f"clip {clip} has no drawing, so no moment of it can be marked")
    if not 0 <= step < steps:
        raise Refused(f"clip {clip} has steps 0 to {steps - 1}, not {step}")
    row = {"run_id": run, "clip_id": clip, "step": step, "annotator_id": annotator}
    kept = connection.execute(insert(table).values(request=request, given_at=time.time(), **row))
    return number_of(kept)
