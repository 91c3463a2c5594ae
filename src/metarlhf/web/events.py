"""How it goes, as server-sent events: the loop writes it down, everybody's page is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Connection, func, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from metarlhf.labels import Database, LabelError, reading, tables

# Time between two looks at what is new, and the longest silence, in seconds: a browser that hears
# nothing for longer does not know whether anybody is there.
LOOK, SILENCE = 0.3, 10.0


def now() -> float:
    """A clock that never goes back."""
    return time.monotonic()


def told(connection: Connection, run: str, annotator: int) -> tuple[dict[str, Any], tuple]:
    """What a person's page shows, and what tells whether it has changed."""
    status, revision = reading.status(connection, run)
    answers, people = tables.answers, tables.annotators
    stands = (answers.c.run_id == run) & answers.c.undone_at.is_(None)
    counts = connection.execute(
        select(
            func.count(),
            func.count().filter(answers.c.annotator_id == annotator),
            func.max(answers.c.id),
        ).where(stands)
    ).one()
    everybody = connection.execute(
        select(func.count(func.distinct(answers.c.annotator_id))).where(stands)
    ).scalar_one()
    name = connection.execute(select(people.c.name).where(people.c.id == annotator)).scalar()
    open_ = reading.open_questions(connection, run)
    seen = {
        **status,
        "given": counts[0],
        "mine": counts[1],
        "people": everybody,
        "open": open_,
        "name": name,
    }
    return seen, (revision, *counts, open_)


async def stream(
    request: Request, database: Database, run: str, annotator: int
) -> AsyncIterator[str]:
    """Events until the browser goes. It comes back by itself, also to a server that began anew."""

    def look() -> tuple[dict[str, Any], tuple]:
        with database.read() as connection:
            return told(connection, run, annotator)

    known, spoke = None, now()
    yield "retry: 1000\n\n"
    while not await request.is_disconnected():
        try:
            seen, mark = await run_in_threadpool(look)
        except LabelError:
            return
        if mark != known:
            known, spoke = mark, now()
            yield f"data: {json.dumps(seen)}\n\n"
        elif now() - spoke > SILENCE:
            spoke = now()
            yield ": still here\n\n"
        await asyncio.sleep(LOOK)
