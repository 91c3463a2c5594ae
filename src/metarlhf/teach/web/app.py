"""The page's server: its settings, what the page may send, and its routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from metarlhf.errors import LabelError, Refused
from metarlhf.teach import Database, Lease, answering, people, questions, tables
from metarlhf.teach.people import Annotator
from metarlhf.teach.web import LOOPBACK, events
from metarlhf.teach.web.guard import (
    COOKIE,
    HEADERS,
    REFUSALS,
    Guard,
    Rate,
    Sessions,
    Someone,
    csrf_of,
    refusal,
)
from metarlhf.teach.web.writer import Writer


@dataclass(frozen=True)
class Settings:
    """Who may come, and how fast.

    Attributes:
        needs_tokens: everybody signs in with a token; otherwise whoever reaches the page is "you".
        hosts: names that the page goes by; None: any, where tokens say who may come.
        report: what is shown at the end, once it is there.
        answers_per_second: of one person; twice as many at once.
        sign_ins_per_minute: that failed, from one address; further ones are refused unread.
    """

    needs_tokens: bool = False
    hosts: tuple[str, ...] | None = LOOPBACK
    report: Path | None = None
    answers_per_second: float = 20.0
    sign_ins_per_minute: float = 30.0


_REQUEST = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
_NUMBER = Field(ge=0, le=2**31 - 1)


class _Strict(BaseModel):
    """Nothing is taken that is not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SignIn(_Strict):
    """Who comes; the token is what an invitation gave, none at one's own machine."""

    token: str | None = Field(None, max_length=200)


class NewAnswer(_Strict):
    """An answer. `request` is made up by the page, so that asking twice is answering once."""

    question: int = _NUMBER
    request: str = _REQUEST
    seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    choice: Literal["left", "right", "equal", "skip"] | None = None
    mark: int | None = Field(None, ge=1, le=answering.LEVELS)


class Undo(_Strict):
    """What takes an answer back; the same `request` again takes back nothing more."""

    request: str = _REQUEST


class NewCorrection(_Strict):
    """A moment of a clip that was bad."""

    clip: int = _NUMBER
    step: int = _NUMBER
    request: str = _REQUEST


_STATIC = Path(__file__).parent / "static"


def create_app(database: Database, run: str, settings: Settings) -> FastAPI:
    """The page of one run's lesson."""
    writer = Writer(database)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(writer.close)

    app = FastAPI(
        title="MetaRLHF", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        lifespan=lifespan, responses=REFUSALS,
    )  # fmt: skip
    app.add_middleware(Guard, hosts=settings.hosts)
    app.state.settings = settings
    app.state.writer, app.state.sessions = writer, Sessions(database, run)
    app.state.cookie = COOKIE + run
    app.state.rate = Rate(settings.answers_per_second, 2 * settings.answers_per_second)
    app.state.sign_ins = Rate(settings.sign_ins_per_minute / 60, settings.sign_ins_per_minute)
    _pages(app, settings)
    _talk(app, database, run, writer)
    app.exception_handler(Refused)(lambda request, error: refusal(409, str(error)))
    app.exception_handler(LabelError)(lambda request, error: refusal(503, str(error)))
    app.exception_handler(DBAPIError)(
        lambda request, error: refusal(503, "the labels cannot be reached: try again")
    )
    # What was sent is not sent back: it may be what no JSON can hold.
    app.exception_handler(RequestValidationError)(
        lambda request, error: refusal(
            422, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        )
    )
    app.exception_handler(HTTPException)(
        lambda request, error: refusal(error.status_code, str(error.detail))
    )
    return app


def _pages(app: FastAPI, settings: Settings) -> None:
    """What is there to be looked at."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html")

    @app.get("/report", include_in_schema=False)
    async def report(who: Someone) -> Response:
        path = settings.report
        if path is None or not path.exists():
            raise HTTPException(404, "there is no report yet: it comes when all is answered")
        # It is a page of its own, with styles inside; it may load and run nothing at all.
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        policy += "media-src data:; sandbox"
        return FileResponse(path, headers={"content-security-policy": policy})

    app.mount("/static", StaticFiles(directory=_STATIC), name="static")


def _talk(app: FastAPI, database: Database, run: str, writer: Writer) -> None:
    """What the page asks and says."""
    watch = events.Watch(database, run)

    @app.post("/api/session")
    async def sign_in(request: Request, body: SignIn) -> Response:
        """Sign in, or be known again."""
        address = request.client.host if request.client else ""
        if app.state.sign_ins.left(address) < 1:
            raise HTTPException(429, "too many failed attempts to sign in: wait a minute")
        cookie = request.cookies.get(app.state.cookie, "")
        known = await app.state.sessions.who(cookie)
        if known is None or body.token is not None:
            admitted = await writer.write(lambda c: _admit(c, run, app.state.settings, body))
            if admitted is None:
                app.state.sign_ins.allows(address)  # failures count
                raise HTTPException(401, "this is not, or no longer, a token of this lesson")
            known, cookie = admitted
        told = {"name": known.name, "csrf": csrf_of(cookie), "levels": answering.LEVELS}
        response = JSONResponse(told, headers=HEADERS)
        response.set_cookie(
            app.state.cookie, cookie, max_age=int(people.SESSION), httponly=True, samesite="strict",
            secure=request.url.scheme == "https", path="/",
        )  # fmt: skip
        return response

    @app.post("/api/next")
    async def following(who: Someone) -> dict[str, Any]:
        """A question for a while, if there is any."""
        return {"next": await writer.write(lambda c: _lease(c, run, who))}

    @app.post("/api/answers")
    async def answer(who: Someone, body: NewAnswer) -> dict[str, Any]:
        """Keep an answer, and give the next question. When this returns, both are on disk."""

        def keep(connection: Connection) -> dict[str, Any]:
            number = answering.answer(
                connection, run, who.id, body.question, body.request, body.seconds,
                choice=body.choice, mark=body.mark,
            )  # fmt: skip
            return {"answer": number, "next": _lease(connection, run, who)}

        return await writer.write(keep)

    @app.post("/api/undo")
    async def undo(who: Someone, body: Undo) -> dict[str, Any]:
        """Take back one's newest answer; its question is the next."""

        def take_back(connection: Connection) -> dict[str, Any]:
            _going_on(connection, run, "taken back")
            question = answering.undo(connection, run, who.id, body.request)
            return {"undone": question, "next": _lease(connection, run, who)}

        return await writer.write(take_back)

    @app.post("/api/corrections")
    async def correct(who: Someone, body: NewCorrection) -> dict[str, int]:
        """Call a moment bad."""

        def keep(connection: Connection) -> dict[str, int]:
            _going_on(connection, run, "marked")
            clip, step, request = body.clip, body.step, body.request
            return {"correction": answering.correct(connection, run, who.id, clip, step, request)}

        return await writer.write(keep)

    @app.get("/api/status")
    async def status(who: Someone) -> dict[str, Any]:
        """How it goes."""
        seen = await watch.now()
        return seen.status | await watch.mine(who.id) | {"name": who.name}

    @app.get("/api/clips/{clip}")
    async def scene(who: Someone, clip: Annotated[int, _NUMBER]) -> dict[str, Any]:
        """How a clip is drawn."""
        found = await run_in_threadpool(database.query, _scene, run, clip)
        if found is None:
            raise HTTPException(404, f"there is no clip {clip} here")
        return found

    @app.get("/api/clips/{clip}/film", response_class=Response)
    async def film(who: Someone, clip: Annotated[int, _NUMBER]) -> Response:
        """A clip's film, as MP4; 202 while it is being made."""
        made = await run_in_threadpool(database.query, _film, run, clip)
        if made is None:
            return JSONResponse({"film": None}, 202)
        if not made:
            raise HTTPException(404, f"clip {clip} has no film")
        # Not to be kept by the browser: another lesson's clips have the same numbers.
        return Response(made, media_type="video/mp4")

    @app.get("/api/events", response_class=EventSourceResponse)
    async def follow(request: Request, who: Someone) -> EventSourceResponse:
        """How it goes, whenever that changes, as server-sent events."""
        cookie = request.cookies.get(app.state.cookie, "")

        async def may_stay() -> bool:
            return await app.state.sessions.who(cookie) is not None

        return events.stream(watch, who.id, may_stay)


def _admit(
    connection: Connection, run: str, settings: Settings, body: SignIn
) -> tuple[Annotator, str] | None:
    """Let somebody in who may come in; None: they may not."""
    if settings.needs_tokens:
        who = people.with_token(connection, run, body.token or "")
        if who is None:
            return None
    else:
        who = people.local(connection, run)
    return who, people.sign_in(connection, who)


def _lease(connection: Connection, run: str, who: Annotator) -> dict[str, Any] | None:
    """The next question as the page takes it. Which clip is whose stays here."""
    found: Lease | None = answering.lease(connection, run, who.id)
    if found is None:
        return None
    question = found.question
    return {
        "question": question.id,
        "kind": question.kind,
        "clips": [{"clip": clip, "scene": found.clips[clip]} for clip in question.shown],
        "until": found.until,
    }


def _going_on(connection: Connection, run: str, what: str) -> None:
    """Refuse what nobody would learn from."""
    if questions.status(connection, run).status.get("doing") == "done":
        raise Refused(f"all is learned: nothing can be {what} any more")


def _film(connection: Connection, run: str, clip: int) -> bytes | None:
    """None: it is being made. Empty: there is none."""
    table = tables.clips
    row = connection.execute(
        select(table.c.film, table.c.replay).where(table.c.id == clip, table.c.run_id == run)
    ).first()
    if row is None or row.replay is None:
        return b""
    return row.film


def _scene(connection: Connection, run: str, clip: int) -> dict[str, Any] | None:
    table = tables.clips
    row = connection.execute(
        select(table.c.scene).where(table.c.id == clip, table.c.run_id == run)
    ).first()
    return None if row is None else {"clip": clip, "scene": row.scene}
