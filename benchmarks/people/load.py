"""A page under load: the real server in a process of its own, a loop that asks, people who answer.

The loop's side asks so many questions that there is always one for everybody, each about clips of
its own, as a lesson would. People answer as fast as they are said to. All of it is on this machine.
"""

import asyncio
import json
import multiprocessing
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np

from benchmarks.people.teach import free_port
from metarlhf.teach import Clip, Database, NewQuestion, people, questions

OPEN = 150  # questions, at least
TOGETHER = 10  # of them in a transaction, at most


@dataclass
class Heard:
    """What people were told: answers that the server took, and how long each took to be taken."""

    acknowledged: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@contextmanager
def page(url: str) -> Iterator[tuple[str, str, Database]]:
    """The server of a new run: its address, the run, and its labels."""
    database = Database(url)
    with database.write() as connection:
        run = questions.new_run(connection, "navigation/finn2017", {})
    try:
        with serving(url, run) as address:
            yield address, run, database
    finally:
        database.close()


@contextmanager
def serving(url: str, run: str) -> Iterator[str]:
    """The address of a run's page, for people with tokens, in a process of its own."""
    port = free_port()
    command = [
        sys.executable, "-m", "metarlhf.teach.web.serve", "--run", run,
        "--port", str(port), "--tokens",
    ]  # fmt: skip
    server = subprocess.Popen(command, env=os.environ | {"METARLHF_LABELS": url})
    address = f"http://127.0.0.1:{port}"
    try:
        _until_open(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def _until_open(address: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            urlopen(address, timeout=2).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextmanager
def asked(url: str, run: str) -> Iterator[None]:
    """Somebody asks all the while, in a process of their own."""
    spawn = multiprocessing.get_context("spawn")
    over, begun = spawn.Event(), spawn.Event()
    asker = spawn.Process(target=_ask, args=(url, run, begun, over))
    asker.start()
    begun.wait(60)
    try:
        yield
    finally:
        over.set()
        asker.join(60)


def _ask(url: str, run: str, begun: Any, over: Any) -> None:
    database, rng = Database(url), np.random.default_rng(0)
    while not over.is_set():
        with database.read() as connection:
            missing = OPEN - questions.open_questions(connection, run)
        if missing > 0:
            new = [NewQuestion(_clip(rng), _clip(rng), 0.5) for _ in range(min(missing, TOGETHER))]
            with database.write() as connection:
                questions.ask(connection, run, new)
        else:
            begun.set()
            time.sleep(0.01)
    database.close()


def _clip(rng: np.random.Generator) -> Clip:
    """As large as one of navigation's."""
    obs = rng.uniform(-0.5, 0.5, (10, 2)).astype(np.float32)
    frames = [[{"kind": "dot", "at": at, "role": "agent", "radius": 7}] for at in obs.tolist()]
    scene = {
        "steps": 10, "view": [-1, 1, -1, 1], "still": [], "frames": frames,
        "words": "The point goes.", "track": obs.tolist(), "rate": 10,
    }  # fmt: skip
    return Clip({"obs": obs, "action": obs}, scene)


def answer_all_at_once(
    address: str, run: str, database: Database, count: int, seconds: float, pause: float
) -> Heard:
    """So many people answer for so long, each pausing between two answers."""
    with database.write() as connection:
        tokens = [people.invite(connection, run, f"person {i}") for i in range(count)]
    heard = Heard()
    asyncio.run(_everybody(address, tokens, heard, seconds, pause))
    return heard


class Browser:
    """As little of one as there can be, so that the server is measured and not its visitors."""

    def __init__(self, address: str):
        self._place = urlsplit(address)
        self._headers = ""

    async def open(self) -> "Browser":
        self._in, self._out = await asyncio.open_connection(self._place.hostname, self._place.port)
        return self

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status, and what was said."""
        status, _, said = await self._ask(path, body)
        return status, said

    async def sign_in(self, token: str | None) -> None:
        """Be somebody from now on."""
        _, fields, said = await self._ask("/api/session", {"token": token})
        cookie = fields["set-cookie"].split(";")[0]
        self._headers = f"cookie: {cookie}\r\nx-csrf-token: {said['csrf']}\r\n"

    async def follow(self) -> None:
        """Hear how it goes, on a connection of its own, for as long as this lasts."""
        events = await asyncio.open_connection(self._place.hostname, self._place.port)
        head = f"GET /api/events HTTP/1.1\r\nhost: {self._place.netloc}\r\n{self._headers}\r\n"
        events[1].write(head.encode())

        async def hear() -> None:
            while await events[0].readline():
                pass

        self._hearing = asyncio.create_task(hear())

    async def _ask(self, path: str, body: Any) -> tuple[int, dict[str, str], Any]:
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._place.netloc}\r\n{self._headers}"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        self._out.write(head.encode() + content)
        lines = (await self._in.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        fields = {name.lower(): value for name, value in pairs}
        said = json.loads(await self._in.readexactly(int(fields["content-length"])))
        return int(lines[0].split()[1]), fields, said

    def close(self) -> None:
        self._out.close()


async def _everybody(address, tokens, heard, seconds, pause) -> None:
    browsers = [await Browser(address).open() for _ in tokens]
    for browser, token in zip(browsers, tokens, strict=True):
        await browser.sign_in(token)
    end = time.monotonic() + seconds
    await asyncio.gather(*(_one(browser, heard, end, pause) for browser in browsers))
    for browser in browsers:
        browser.close()


async def _one(browser: Browser, heard: Heard, end: float, pause: float) -> None:
    following = None
    while time.monotonic() < end:
        if following is None:
            following = (await browser.post("/api/next", {}))[1].get("next")
            if following is None:
                await asyncio.sleep(0.02)
                continue
        body = {
            "question": following["question"],
            "request": secrets.token_hex(8),
            "seconds": 1.0,
            "choice": random.choice(("left", "right")),
        }
        begin = time.perf_counter()
        status, said = await browser.post("/api/answers", body)
        taken = time.perf_counter() - begin
        if status == 200:
            heard.acknowledged.append(said["answer"])
            heard.seconds.append(taken)
            following = said["next"]
        else:
            heard.refused.append(str(said))
            following = None
        if pause:
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))


def check(database: Database, run: str, heard: Heard) -> None:
    """Everything that was taken is there, once.

    Raises:
        RuntimeError: it is not.
    """
    with database.read() as connection:
        kept = [one.id for one in questions.answers(connection, run)]
    if sorted(heard.acknowledged) != sorted(kept) or len(set(kept)) < len(kept):
        raise RuntimeError(
            f"{len(heard.acknowledged)} answers were taken, {len(kept)} are kept: some are lost or "
            "counted twice"
        )
