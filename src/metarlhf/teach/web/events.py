"""How it goes, as server-sent events: the loop writes it down, everybody's page is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from metarlhf.teach import Database, LabelError, questions, tables

# Time between two looks at what is new, and the longest silence, in seconds: a browser that hears
# nothing for longer does not know whether anybody is there.
LOOK, SILENCE = 0.3, 10.0


def now() -> float:
    """A clock that never goes back."""
    return time.monotonic()


class Seen(NamedTuple):
    """What everybody's page shows, and what tells whether it has changed."""

    status: dict[str, Any]
    mark: tuple


def look(connection: Connection, run: str) -> Seen:
    """How it goes now."""
    status, revision = questions.status(connection, run)
    answers = tables.answers
    stands = (answers.c.run_id == run) & answers.c.undone_at.is_(None) & ~answers.c.skipped
    by = func.count(func.distinct(answers.c.annotator_id))
    given, people = connection.execute(select(func.count(), by).where(stands)).one()
    open_ = questions.open_questions(connection, run)
    seen = {**status, "given": given, "people": people, "open": open_}
    # What a person skips or takes back shows in what is open.
    return Seen(seen, (revision, given, people, open_))


def mine(connection: Connection, annotator: int) -> dict[str, int]:
    """How many answers of this person stand, and how many they could take back."""
    answers = tables.answers
    own = (answers.c.annotator_id == annotator) & answers.c.undone_at.is_(None)
    given = func.count().filter(~answers.c.skipped)
    row = connection.execute(select(given, func.count()).where(own)).one()
    return {"mine": row[0], "undoable": row[1]}


class Watch:
    """One look for all pages that are open, however many."""

    def __init__(self, database: Database, run: str):
        self._database, self._run = database, run
        self._lock = asyncio.Lock()
        self._at, self._seen = 0.0, Seen({}, ())

    async def now(self) -> Seen:
        """How it goes, as of `LOOK` ago at most.

        Raises:
            LabelError: the labels are not there any more.
        """
        async with self._lock:
            if now() - self._at > LOOK:
                self._seen = await run_in_threadpool(self._look)
                self._at = now()
            return self._seen

    async def mine(self, annotator: int) -> dict[str, int]:
        """What of it is this person's."""
        return await run_in_threadpool(self._mine, annotator)

    def _look(self) -> Seen:
        with self._database.read() as connection:
            return look(connection, self._run)

    def _mine(self, annotator: int) -> dict[str, int]:
        with self._database.read() as connection:
            return mine(connection, annotator)


async def stream(
    request: Request, watch: Watch, annotator: int, welcome: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """Events until the browser goes, or is not `welcome` any more.

    It comes back by itself, also to a server that began anew.
    """
    known, spoke = None, now()
    yield "retry: 1000\n\n"
    while await welcome() and not await request.is_disconnected():
        try:
            seen = await watch.now()
            if seen.mark != known:
                known, spoke = seen.mark, now()
                own = await watch.mine(annotator)
                yield f"data: {json.dumps(seen.status | own)}\n\n"
            elif now() - spoke > SILENCE:
                spoke = now()
                yield ": still here\n\n"
        except LabelError:
            return
        await asyncio.sleep(LOOK)
