"""How it goes, as server-sent events: the loop writes it down, everybody's page is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from metarlhf.errors import LabelError
from metarlhf.teach import Database, questions, tables

# Time between two looks at what is new, and the longest silence, in seconds: a browser that hears
# nothing for longer does not know whether anybody is there.
LOOK, SILENCE = 0.3, 10.0
# After so many milliseconds a browser that lost its connection comes back.
_RETRY = 1_000


class Seen(NamedTuple):
    """What everybody's page shows, and a version that differs where it has changed."""

    status: dict[str, Any]
    version: tuple


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
            if time.monotonic() - self._at > LOOK:
                self._seen = await run_in_threadpool(self._database.query, _look, self._run)
                self._at = time.monotonic()
            return self._seen

    async def mine(self, annotator: int) -> dict[str, int]:
        """How many answers of this person stand, and how many they could take back."""
        return await run_in_threadpool(self._database.query, _mine, annotator)


def _look(connection: Connection, run: str) -> Seen:
    status, revision = questions.status(connection, run)
    answers = tables.answers
    stands = (answers.c.run_id == run) & answers.c.undone_at.is_(None) & ~answers.c.skipped
    by = func.count(func.distinct(answers.c.annotator_id))
    given, people = connection.execute(select(func.count(), by).where(stands)).one()
    open_ = questions.open_questions(connection, run)
    seen = {**status, "given": given, "people": people, "open": open_}
    # What a person skips or takes back shows in what is open.
    return Seen(seen, (revision, given, people, open_))


def _mine(connection: Connection, annotator: int) -> dict[str, int]:
    answers = tables.answers
    own = (answers.c.annotator_id == annotator) & answers.c.undone_at.is_(None)
    given = func.count().filter(~answers.c.skipped)
    row = connection.execute(select(given, func.count()).where(own)).one()
    return {"mine": row[0], "undoable": row[1]}


def stream(
    watch: Watch, annotator: int, may_stay: Callable[[], Awaitable[bool]]
) -> EventSourceResponse:
    """How it goes, until the browser leaves, may not stay any more, or the server ends.

    A browser comes back by itself, also to a server that began anew.

    Args:
        watch: what has changed.
        annotator: the number of the person whose browser this is.
        may_stay: whether they are still signed in.
    """
    heartbeat = lambda: ServerSentEvent(comment="still here")
    events = _events(watch, annotator, may_stay)
    return EventSourceResponse(events, ping=SILENCE, ping_message_factory=heartbeat)


async def _events(
    watch: Watch, annotator: int, may_stay: Callable[[], Awaitable[bool]]
) -> AsyncIterator[ServerSentEvent]:
    known = None
    yield ServerSentEvent(retry=_RETRY)
    while await may_stay():
        try:
            seen = await watch.now()
            if seen.version != known:
                known = seen.version
                own = await watch.mine(annotator)
                yield ServerSentEvent(json.dumps(seen.status | own))
        except LabelError:
            return
        await asyncio.sleep(LOOK)
