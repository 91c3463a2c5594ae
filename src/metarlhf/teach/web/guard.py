"""Who may do what: sessions, forged requests, size, rate, and what a browser is told to refuse."""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Collection
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metarlhf.teach import Database, people
from metarlhf.teach.people import Annotator

# What a cookie's name begins with; a lesson's number follows, as ports do not tell cookies apart.
COOKIE = "metarlhf-"
_CSRF_HEADER = "x-csrf-token"
# No request here says more than an answer; in bytes.
LARGEST = 16 * 1024
_TOO_LARGE = f"a request here has {LARGEST} bytes at most"

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


def csrf_of(cookie: str) -> str:
    """What requests of a session must say. It follows from a cookie that no script can read."""
    return hashlib.sha256(b"csrf:" + cookie.encode()).hexdigest()


def refusal(status: int, message: str, **headers: str) -> JSONResponse:
    """What is said to somebody who may not."""
    return JSONResponse({"error": message}, status, headers | HEADERS)


class _Refusal(BaseModel):
    """What is wrong, and what to do."""

    error: str


# What any request here may be told, for the description of the API.
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": _Refusal, "description": why}
    for status, why in {
        400: "not to be understood",
        401: "not signed in",
        403: "not from the page",
        404: "not there",
        409: "not now, or not by you",
        413: "too large",
        422: "not like that",
        429: "too fast",
        503: "the labels cannot be reached",
    }.items()
}


class Guard:
    """Refuses before anything is read: foreign hosts and origins, requests that are too large.

    Adds to every response what a browser is to refuse on this page. Starlette's
    `TrustedHostMiddleware` checks hosts, too, but refuses in plain text that names no host, and
    in older releases takes the host of "[::1]:80" to be "[".
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None = None):
        """`hosts` are the names that the page goes by, without ports; None: any."""
        self.app, self.hosts = app, None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refused(scope, Headers(scope=scope))
        if refused is not None:
            await refused(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST:  # It said that it would be shorter, or nothing.
                raise HTTPException(413, _TOO_LARGE)
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, counted, guarded)

    def _refused(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        name = _hostname(host)
        if self.hosts is not None and name not in self.hosts:
            return refusal(400, f"this page does not go by the name {name!r}")
        origin, asks = headers.get("origin"), scope["method"] in ("GET", "HEAD")
        if not asks and origin is not None and origin.partition("://")[2] != host:
            return refusal(403, "requests from other sites are refused")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST:
            return refusal(413, _TOO_LARGE)
        return None


def _hostname(host: str) -> str:
    """Without its port; empty for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


class _Bucket(NamedTuple):
    """How much somebody may still do, and when that was."""

    left: float
    at: float


class Rate:
    """So many requests a second for each of many callers, and some at once.

    The callers that have been quiet for longest are forgotten beyond `most`: they would be full
    again anyway.
    """

    def __init__(self, per_second: float, at_once: float, most: int = 10_000):
        self.per_second, self.at_once, self.most = per_second, at_once, most
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()

    def left(self, caller: object, now: float | None = None) -> float:
        """How much the caller may still do; below one is nothing."""
        now = time.monotonic() if now is None else now
        before = self._buckets.get(caller, _Bucket(self.at_once, now))
        return min(self.at_once, before.left + self.per_second * (now - before.at))

    def allows(self, caller: object, now: float | None = None) -> bool:
        """Whether the caller may, this time; it counts."""
        now = time.monotonic() if now is None else now
        left = self.left(caller, now)
        self._buckets.pop(caller, None)
        allowed = left >= 1.0
        self._buckets[caller] = _Bucket(left - allowed, now)
        if len(self._buckets) > self.most:
            self._buckets.popitem(last=False)
        return allowed


class Sessions:
    """Who is signed in, known again for a moment without asking the database."""

    KNOWN = 2.0  # seconds that somebody revoked may go on for
    MOST = 1_000

    def __init__(self, database: Database, run: str):
        self._database, self._run = database, run
        self._known: dict[str, tuple[float, Annotator]] = {}

    async def who(self, cookie: str) -> Annotator | None:
        """Whose cookie it is; None: nobody's."""
        if not cookie:
            return None
        now = time.monotonic()
        at, known = self._known.get(cookie, (0.0, None))
        if known is not None and now - at < self.KNOWN:
            return known
        found = await run_in_threadpool(self._database.query, people.signed_in, self._run, cookie)
        self._known.pop(cookie, None)
        if found is not None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            self._known[cookie] = now, found
        return found


async def annotator(request: Request) -> Annotator:
    """Who asks. What changes something must also say what another site cannot know."""
    cookie = request.cookies.get(request.app.state.cookie, "")
    found = await request.app.state.sessions.who(cookie)
    if found is None:
        raise HTTPException(401, "sign in first: open the page by the address that you were given")
    said, right = request.headers.get(_CSRF_HEADER, ""), csrf_of(cookie)
    if request.method != "GET" and not hmac.compare_digest(said.encode(), right.encode()):
        raise HTTPException(403, "this request does not come from the page: reload it")
    if not request.app.state.rate.allows(found.id):
        raise HTTPException(429, "that is faster than anybody can look: wait a second")
    return found


Someone = Annotated[Annotator, Depends(annotator)]
