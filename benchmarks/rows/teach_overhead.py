"""How much slower training is for the page and the label store.

A lesson from scratch on navigation that has enough to practise never to wait for an answer, with
its store (SQLite), its page served by a process of its own, a browser that follows, and an answer
every second; over the same lesson done again from what was said: the same updates of 3,200 steps,
the same fits to the same answers at the same moments, as many questions chosen, but no store and no
page. All is compiled before. What a machine does varies more from minute to minute than what is
measured: runs are short, by turns, and each is compared with the one beside it. The figure is the
median share of time lost, the interval 95 % of bootstrapped medians.
"""

import asyncio
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from benchmarks.harness import Result
from benchmarks.people.load import Browser, serving
from metarlhf import envs, rlhf
from metarlhf.cli.environment import task_of
from metarlhf.meta.presets import preset
from metarlhf.sampling import CompiledSampler
from metarlhf.teach import Database, people, questions
from metarlhf.teach import session as sessions
from metarlhf.teach.teacher import HumanTeacher

ROW = "teach-overhead"
REPEATS, UPDATES = 25, 300
FAMILY = envs.make("navigation")


def measure(options):
    """By turns with and without."""
    repeats, updates = (1, UPDATES) if options.quick else (REPEATS, UPDATES)
    config = replace(preset("navigation").few_labels, rounds=130, updates=1_000)
    task = task_of(FAMILY, 0)
    learning = FAMILY.without_termination()
    make = lambda: rlhf.from_scratch(
        jax.random.key(0), CompiledSampler(learning, task, config.ppo.num_envs), config
    )
    alone, taught, answers = [], [], 0
    for _ in range(repeats):
        seconds, again, given = _taught(make, task, config, updates)
        taught.append(seconds)
        alone.append(again)
        answers += given
    lost = np.array(taught) / np.array(alone) - 1
    value = float(np.median(lost))
    drawn = np.random.default_rng(0).choice(lost, (10_000, len(lost)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Result(
        ROW,
        "navigation",
        100 * value,
        unit="%",
        low=100 * min(value, float(low)),
        high=100 * max(value, float(high)),
        must=5,
        better="lower",
        details={
            "seconds_with": taught,
            "seconds_without": alone,
            "updates_of_a_run": updates,
            "answers": answers,
        },
    )


def _sampler(task, config):
    return CompiledSampler(FAMILY, task, config.ppo.num_envs)


def _taught(make, task, config, updates):
    """Seconds of so many updates, of the same done again, and how many answers there were."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'labels.db'}"
        database = Database(url)
        with database.write() as connection:
            run = questions.new_run(connection, FAMILY.name, {})
            token = people.invite(connection, run, "somebody")
        lesson = Noted(HumanTeacher(database, run, FAMILY), _sampler(task, config), config)
        over = threading.Event()
        with serving(url, run) as address:
            thread = threading.Thread(target=asyncio.run, args=(_answer(address, token, over),))
            thread.start()
            try:
                seconds, given = _updates(lesson, make, updates)
            finally:
                over.set()
                thread.join()
        teacher, sampler = HumanTeacher(database, run, FAMILY), _sampler(task, config)
        again = Again(teacher, sampler, config, recorded=_said(lesson))
        again.asked_at = lesson.asked_at
        alone, _ = _updates(again, make, updates)
        database.close()
    return seconds, alone, given


class Noted(sessions.TeachingSession):
    """A lesson that knows when it chose questions, and how many."""

    def __init__(self, *parts, **options):
        super().__init__(*parts, **options)
        self.asked_at, self.iteration = {}, 0
        ask = self.teacher.ask

        def noted(proposal, *rest):
            self.asked_at[self.iteration] = int(np.isfinite(proposal.gain).sum())
            return ask(proposal, *rest)

        self.teacher.ask = noted

    def step(self, state, iteration):
        self.iteration = iteration
        return super().step(state, iteration)


class Again(Noted):
    """A lesson that nobody is told about, and that asks nobody what it would ask."""

    def __init__(self, *parts, **options):
        super().__init__(*parts, **options)
        self.status.tell = lambda *state, **how: None

    def step(self, state, iteration):
        state, row = super().step(state, iteration)
        count = self.asked_at.get(iteration)
        if count:
            asked = self._questions([])
            jax.device_get(
                sessions._propose(state.key, state, asked, count, self.ahead, self.config)
            )
        return state, row


def _said(lesson):
    """What was learned from, and when."""
    with lesson.teacher.database.read() as connection:
        taken = questions.taken(connection, lesson.teacher.run)
        return {
            iteration: (questions.answers(connection, lesson.teacher.run, numbers=numbers), [])
            for iteration, (numbers, _) in taken.items()
        }


def _updates(lesson, make, updates):
    state, iteration, begun = lesson.begin(make()), 0, None
    while True:
        if not lesson.ready(state):
            continue
        state, row = lesson.step(state, iteration)
        jax.block_until_ready(state.ppo.agent)
        iteration += 1
        if begun is None and row["updates"] >= 20:  # all is compiled, and clips are known
            begun = time.perf_counter(), row["updates"], row["labels"]
        if begun is not None and row["updates"] - begun[1] >= updates:
            return time.perf_counter() - begun[0], row["labels"] - begun[2]


async def _answer(address, token, over):
    """An answer every second, from a browser that follows how it goes."""
    browser = await Browser(address).open()
    await browser.sign_in(token)
    await browser.follow()
    number = 0
    while not over.is_set():
        following = (await browser.post("/api/next", {}))[1].get("next")
        if following is not None:
            number += 1
            body = {"question": following["question"], "request": f"r{number}", "seconds": 1.0}
            await browser.post("/api/answers", body | {"choice": "left"})
            await asyncio.sleep(0.9)
        await asyncio.sleep(0.1)
    browser.close()
