"""Killing a lesson's processes at any moment, while people answer."""

import asyncio
import os
import random
import re
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.people.load import Browser
from benchmarks.people.teach import Teach, teaching
from metarlhf.teach import Database, questions
from metarlhf.teach.directory import run_of

PEOPLE, PAUSE = 5, 0.2
VICTIMS = (("page",), ("agent",), ("page", "agent"))
OPTIONS = (
    "navigation", "--labels=3000", "--rounds=300", "--updates=2",
    "--candidates=50", "--ahead=12", "--annotators", *(f"p{i}" for i in range(PEOPLE)),
)  # fmt: skip


class Outcome:
    """What people were told, and what is there."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.kills: list[str] = []
        self.kept: list[int] = []
        self.learned_from = 0


def schedule(folder: Path, count: int, seed: int = 0) -> Outcome:
    """Kill page, agent or both, `count` times by turns at random moments; then stop.

    After each kill both must go on: somebody's answer is taken, and the agent learns from one more.

    Raises:
        RuntimeError: one of them did not go on.
    """
    outcome = Outcome()
    with teaching(folder, *OPTIONS) as lesson:
        lesson.until_open()
        asyncio.run(_under_load(lesson, folder, count, outcome, random.Random(seed)))
    database = Database.beside(folder)
    run = run_of(folder)
    assert run is not None
    with database.read() as connection:
        outcome.kept = [one.id for one in questions.answers(connection, run)]
        outcome.learned_from = int(questions.status(connection, run).status["answers"])
    database.close()
    return outcome


async def _under_load(
    lesson: Teach, folder: Path, count: int, outcome: Outcome, rng: random.Random
) -> None:
    tokens = await _tokens(lesson)
    over = asyncio.Event()
    everybody = [asyncio.create_task(_answer(lesson, token, outcome, over)) for token in tokens]
    for number in range(count):
        await _goes_on(lesson, folder, outcome)
        await asyncio.sleep(rng.uniform(0.0, 2.0))
        victims = VICTIMS[number % len(VICTIMS)]
        children: dict[str, int] = {}
        await _until(
            lambda: children.update(lesson.children()) or set(victims) <= children.keys(),
            f"there was a process of {victims}",
        )
        for victim in victims:
            os.kill(children[victim], signal.SIGKILL)
        outcome.kills.append("+".join(victims))
    await _goes_on(lesson, folder, outcome)
    over.set()
    await asyncio.gather(*everybody)
    # What was said last is learned from before the lesson is stopped.
    await _until(lambda: _learned(folder) >= len(set(outcome.acknowledged)), "all was learned from")


async def _tokens(lesson: Teach) -> list[str]:
    found: list[str] = []
    end = time.monotonic() + 60
    while len(found) < PEOPLE:
        found = re.findall(r"#token=(\S+)", lesson.said())
        if time.monotonic() > end:
            raise RuntimeError(f"nobody was invited:\n{lesson.said()}")
        await asyncio.sleep(0.2)
    return found


async def _goes_on(lesson: Teach, folder: Path, outcome: Outcome) -> None:
    said, learned = len(outcome.acknowledged), _learned(folder)
    await _until(
        lambda: len(outcome.acknowledged) > said and _learned(folder) > learned,
        f"both went on after {outcome.kills[-1:] or 'the beginning'}:\n{lesson.said()[-2000:]}",
    )


async def _until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain until {what}")
        await asyncio.sleep(0.1)


def _learned(folder: Path) -> int:
    """From how many answers the agent has learned, as it said last."""
    run = run_of(folder)
    if run is None:
        return 0
    database = Database.beside(folder)
    try:
        with database.read() as connection:
            return int(questions.status(connection, run).status.get("answers", 0))
    finally:
        database.close()


async def _answer(lesson: Teach, token: str, outcome: Outcome, over: asyncio.Event) -> None:
    """Answer question after question, and each until it is heard, as the page does."""
    browser, body = None, None
    while not over.is_set() or body is not None:
        try:
            if browser is None:
                browser = await Browser(lesson.address).open()
                await browser.sign_in(token)
            if body is None:
                following = (await browser.post("/api/next", {}))[1].get("next")
                if following is None:
                    await asyncio.sleep(0.1)
                    continue
                body = {"question": following["question"], "request": secrets.token_hex(8)}
                body |= {"seconds": 1.0, "choice": random.choice(("left", "right", "equal"))}
            status, said = await browser.post("/api/answers", body)
            if status == 200:
                outcome.acknowledged.append(said["answer"])
            if status not in (401, 429) and status < 500:
                body = None  # taken, or open no more
            await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))
        except (OSError, asyncio.IncompleteReadError, KeyError):
            browser = None
            await asyncio.sleep(0.2)
