"""One thread that writes to the database, many answers in a transaction.

SQLite has one writer at a time, and a commit waits for the disk. So what comes in while one commit
waits shares the next: latency stays that of a commit or two, however many people answer at once.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection

from metarlhf.teach import Database

T = TypeVar("T")
Work = Callable[[Connection], T]

# What shares a transaction, at most.
TOGETHER = 64


class Writer:
    """Runs functions of a connection; what they return comes back when it is on disk."""

    def __init__(self, database: Database):
        self._database = database
        self._queue: queue.SimpleQueue[tuple[Work, Future] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="label writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work[T]) -> T:
        """What `work` returns, once it is committed; its exception, once it is rolled back."""
        done: Future[T] = Future()
        self._queue.put((work, done))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Finish what there is, and stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch, stop = [first], False
            while len(batch) < TOGETHER and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    stop = True
                    break
                batch.append(following)
            self._together(batch)
            if stop:
                return

    def _together(self, batch: list[tuple[Work, Future]]) -> None:
        """In one transaction; what fails is undone by itself and takes nothing else with it."""
        results: list[tuple[Future, Any, BaseException | None]] = []
        try:
            with self._database.write(alone=True) as connection:
                for work, done in batch:
                    if not done.set_running_or_notify_cancel():
                        continue  # nobody waits for it any more, so it is not done
                    try:
                        with connection.begin_nested():
                            results.append((done, work(connection), None))
                    except Exception as error:
                        results.append((done, None, error))
        except Exception as error:  # Nothing of all this is kept.
            results = [(done, None, error) for _, done in batch if not done.cancelled()]
        for done, value, error in results:
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)
