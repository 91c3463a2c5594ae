"""Who asks, by a cookie."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from metarlhf.labels import Database, people
from metarlhf.labels.people import Annotator
from metarlhf.web import events
from metarlhf.web.guard import CSRF_HEADER, csrf_of, same


class Sessions:
    """Who is signed in, known again for a moment without asking the database."""

    KNOWN = 2.0  # seconds that somebody revoked may go on for
    MOST = 1_000

    def __init__(self, database: Database, run: str):
        self._database, self._run = database, run
        self._known: dict[str, tuple[float, Annotator]] = {}

    async def who(self, cookie: str, now: float) -> Annotator | None:
        """Whose cookie it is; None: nobody's."""
        at, known = self._known.get(cookie, (0.0, None))
        if known is not None and now - at < self.KNOWN:
            return known
        found = await run_in_threadpool(self._look, cookie)
        self._known.pop(cookie, None)
        if found is not None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            self._known[cookie] = now, found
        return found

    def _look(self, cookie: str) -> Annotator | None:
        with self._database.read() as connection:
            return people.signed_in(connection, self._run, cookie)


async def annotator(request: Request) -> Annotator:
    """Who asks. What changes something must also say what another site cannot know."""
    cookie = request.cookies.get(request.app.state.cookie, "")
    found = await request.app.state.sessions.who(cookie, events.now()) if cookie else None
    if found is None:
        raise HTTPException(401, "sign in first: open the page by the address that you were given")
    if request.method != "GET" and not same(request.headers.get(CSRF_HEADER, ""), csrf_of(cookie)):
        raise HTTPException(403, "this request does not come from the page: reload it")
    if not request.app.state.rate.allows(found.id):
        raise HTTPException(429, "that is faster than anybody can look: wait a second")
    return found


Someone = Annotated[Annotator, Depends(annotator)]
