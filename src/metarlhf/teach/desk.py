"""Where a loop's questions are put, and people's answers come back as it takes them in.

A database in between is all that the loop and the page share: either may stop, be killed and go on
without the other.

What people are told about a lesson while it goes on.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf.envs import Shown, scene
from metarlhf.envs.adapters.replays import Replay
from metarlhf.reward.cost import Marks
from metarlhf.rlhf import RLHFState
from metarlhf.rlhf.constraints import nothing_marked
from metarlhf.rlhf.propose import Proposal, Said
from metarlhf.teach import people, questions
from metarlhf.teach.database import Database
from metarlhf.teach.films import film_of
from metarlhf.teach.records import Answer, Clip, Correction, NewQuestion, Origin
from metarlhf.teach.stage import Showing
from metarlhf.types import Segment

# Time between two looks for answers, in seconds: a look takes a thousandth.
PAUSE = 0.05


class Desk:
    """One run's questions and answers.

    Args:
        database: where they are kept.
        run: the run's number.
        shown: what is done in the clips, and how it is drawn.
        annotator: learn from this person's answers alone; None: from everybody's.
        overlap: how many people each question is for.
    """

    def __init__(
        self,
        database: Database,
        run: str,
        shown: Shown,
        *,
        annotator: str | None = None,
        overlap: int = 1,
    ):
        self.database, self.run, self.shown = database, run, shown
        self.annotator, self.overlap = annotator, overlap
        # Where what was said is read; a lesson that is done again reads that of the one that was.
        self.said_in = database, run
        self._clips: dict[int, Segment] = {}
        self._now: int | None = None
        self._mark: questions.Mark | None = None
        self._looked, self._news = 0.0, False

    def put(
        self,
        proposal: Proposal,
        wanted: int,
        number: int,
        ratings: bool,
        origin: Callable[[int], Origin] = lambda clip: Origin(),
    ) -> int:
        """Ask, in round `number`, what so many answers need; returns how many what is open is for.

        `origin` says where a clip comes from, by its number. Questions of earlier rounds that
        nobody has looked at are taken back where there are enough new ones, all in one transaction
        in which nobody else looks.
        """
        found = jax.device_get(proposal)
        clip = lambda clips, i, side: self._clip(
            clips[i], number, origin(int(found.clips[i, side]))
        )
        new = [
            NewQuestion(
                first=clip(found.first, i, 0),
                second=None if ratings else clip(found.second, i, 1),
                predicted=float(found.predicted[i]),
                gain=float(gain),
                overlap=self.overlap,
                round=number,
            )
            for i, gain in enumerate(found.gain)
            if np.isfinite(gain)
        ]
        with self.database.write(alone=True) as connection:
            missing = wanted - questions.staying(connection, self.run, number)
            if self.overlap * len(new) >= missing:
                questions.withdraw(connection, self.run, number)
            open_ = questions.open_questions(connection, self.run)
            count = max(0, -(-(wanted - open_) // self.overlap))
            asked = questions.ask(connection, self.run, new[:count])
        return open_ + self.overlap * len(asked)

    def take_back(self) -> None:
        """Take back all questions that are open, as when a lesson is over."""
        with self.database.write(alone=True) as connection:
            questions.withdraw(connection, self.run)

    def _clip(self, clip: Segment, number: int, origin: Origin) -> Clip:
        arrays = {"obs": clip.obs, "action": clip.action, "task_reward": clip.task_reward}
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        seen = self._scene(arrays["obs"], origin.replay)
        return Clip(arrays, seen, origin.source, number, origin.replay)

    def _scene(self, obs: np.ndarray, replay: Replay | None) -> dict[str, Any]:
        if replay is None:
            return scene(self.shown, obs)
        words = f"a film of {len(obs)} steps of {self.shown.name}"
        return {"film": True, "steps": len(obs), "words": words}

    def staying(self, number: int) -> int:
        """What is open when round `number` asks: what somebody has looked at, and what is new."""
        with self.database.read() as connection:
            return questions.staying(connection, self.run, number)

    def count(self) -> questions.Count:
        """How many answers that the lesson learns from stand, and how many are open."""
        with self.database.read() as connection:
            return questions.count(connection, self.run, self.annotator)

    def open(self) -> int:
        """How many more answers what was asked is good for."""
        return self.count().open

    def news(self) -> bool:
        """Whether anything was said or taken back since `said`; looks now and then only."""
        if not self._news and time.monotonic() - self._looked > PAUSE:
            self._looked = time.monotonic()
            with self.database.read() as connection:
                self._news = questions.mark(connection, self.run) != self._mark
        return self._news

    def said(self) -> tuple[list[Answer], list[Correction]]:
        """Everything that stands now."""
        with self.database.read() as connection:
            self._mark, self._news = questions.mark(connection, self.run), False
            answers = questions.answers(connection, self.run, self.annotator)
            corrections = questions.corrections(connection, self.run, self.annotator)
        return answers, corrections

    def agreement(self) -> float | None:
        """How far all people agree."""
        return questions.agreement(self.all_said()[0])

    def all_said(self) -> tuple[list[Answer], list[Correction]]:
        """Everything that stands now of everybody, where it was said."""
        database, run = self.said_in
        with database.read() as connection:
            return questions.answers(connection, run), questions.corrections(connection, run)

    def take(self, iteration: int, answers: list[int], corrections: list[int]) -> None:
        """Put on record what the loop learns from, from this iteration on, by number."""
        with self.database.write() as connection:
            questions.record_taken(connection, self.run, iteration, answers, corrections)

    def taken_before(self, count: int) -> tuple[list[int], list[int]]:
        """What the loop learned from when it had taken something in `count` times.

        What it took in after that is struck from the record: it is done again.
        """
        with self.database.write() as connection:
            questions.forget_taken(connection, self.run, count)
            taken = list(questions.taken(connection, self.run).values())
        return taken[-1] if taken else ([], [])

    def given(self, numbers: list[int]) -> list[Answer]:
        """Answers by number."""
        with self.database.read() as connection:
            return questions.answers(connection, self.run, numbers=numbers)

    def as_said(self, answers: Sequence[Answer], marks: Sequence[Correction]) -> list[Said]:
        """Answers with their clips, in the loop's order of first and second."""
        self._fetch([clip for one in answers for clip in one.question.shown])
        self._fetch([one.clip for one in marks])
        number = {name: i for i, name in enumerate(self.people())}
        said = [self._said(one, number[one.annotator]) for one in answers]
        return said + [self._corrected(one, number[one.annotator]) for one in marks]

    def people(self) -> list[str]:
        """Who may have answered, by number, where it was said."""
        database, run = self.said_in
        with database.read() as connection:
            return people.names(connection, run)

    def _said(self, answer: Answer, annotator: int) -> Said:
        first, *others = (self._clips[clip] for clip in answer.question.clips)
        second = others[0] if others else None
        value = answer.preference if second is not None else answer.mark
        return Said(
            first=first,
            second=second,
            value=0.5 if value is None else float(value),
            weight=0.0 if answer.skipped else 1.0,
            levels=answer.levels or 10,
            annotator=annotator,
        )

    def _corrected(self, mark: Correction, annotator: int) -> Said:
        """A bad moment: the clip as it is, is better than one that were all like it."""
        clip = self._clips[mark.clip]
        moment = jax.tree.map(lambda x: jnp.repeat(x[mark.step][None], len(x), 0), clip)
        return Said(first=moment, second=clip, value=1.0, annotator=annotator)

    def marks(self, answers: Sequence[Answer], never: Sequence[Correction], room: int) -> Marks:
        """Clips that were looked over: all that answers are about, and what was marked in them.

        There is room for so many: those with a mark come first, then the newest.
        """
        marked: dict[int, set[int]] = {one.clip: set() for one in never}
        for one in never:
            marked[one.clip].add(one.step)
        others = [clip for one in reversed(answers) for clip in one.question.shown]
        kept = list(dict.fromkeys([*reversed(marked), *others]))[:room]
        self._fetch(kept)
        nothing = nothing_marked(self.shown, room)
        clips, forbidden, weight = jax.tree.map(
            np.array, (nothing.clips, nothing.forbidden, nothing.weight)
        )
        for row, number in enumerate(kept):
            for store, new in zip(
                jax.tree.leaves(clips), jax.tree.leaves(self._clips[number]), strict=True
            ):
                store[row] = new
            forbidden[row, sorted(marked.get(number, ()))] = True
            weight[row] = 1.0
        return Marks(*jax.tree.map(jnp.asarray, (clips, forbidden, weight)))

    def _fetch(self, clips: Sequence[int]) -> None:
        missing = set(clips) - self._clips.keys()
        if not missing:
            return
        with self.said_in[0].read() as connection:
            found = questions.arrays(connection, missing)
        for number, arrays in found.items():
            paid = arrays.get("task_reward", np.zeros(len(arrays["obs"]), np.float32))
            parts = (arrays["obs"], arrays["action"], paid)
            # NumPy's from here on: they are looked through again with each answer.
            self._clips[number] = jax.device_get(Segment(*map(jnp.asarray, parts)))

    def asked(self) -> list[Said]:
        """Every question that was ever put, so that none is put twice."""
        with self.database.read() as connection:
            found = questions.questions(connection, self.run)
        self._fetch([clip for one in found for clip in one.shown])
        return [
            Said(
                self._clips[one.left],
                None if one.right is None else self._clips[one.right],
                0.5 if one.right is not None else 1.0,
            )
            for one in found
        ]

    def picture(self, obs: Any, replay: Replay | None = None) -> Clip:
        """What the agent does now, as the page shows it."""
        seen = np.asarray(obs)
        arrays = {"obs": seen, "action": np.zeros(len(seen), np.float32)}
        return Clip(arrays, self._scene(seen, replay), source="now", replay=replay)

    def last_film(self, seconds: float) -> bytes | None:
        """Of what was shown last, waited for so long; None where it is drawn."""
        return film_of(self.database, self._now, seconds) if self._now is not None else None

    def show(self, status: dict[str, Any], now: Clip | None = None) -> None:
        """Tell the page what the loop does."""
        with self.database.write() as connection:
            if now is not None:
                self._now = questions.keep(connection, self.run, now)
                status = status | {"now": self._now}
            questions.set_status(connection, self.run, status)


# The page is told at most so often, in seconds: each time is a write that is synced to disk.
TELL = 0.5
# So often it is told that nothing has changed: it is heard whether there is anybody.
BEAT = 5.0


class Page:
    """What people are told about the lesson, now and then."""

    def __init__(self, desk: Desk, labels: int):
        self.desk, self.labels = desk, labels
        self.learned_return: float | None = None
        self.foreseen: float | None = None
        self.curve: list[tuple[int, float]] = []
        self._about: dict[str, Any] = {}
        self.now: Any = None
        self._picture: Clip | None = None
        self._told = ("", 0.0)

    def learned(self, given: list[Answer], showing: Showing) -> None:
        """There were answers, and the agent does something else now."""
        self.learned_return = float(showing.learned_return)
        self._add(len(given), self.learned_return)
        self._show(given, showing)

    def _add(self, answers: int, learned_return: float) -> None:
        """A point of the curve, which begins anew where answers were taken back."""
        self.curve = [one for one in self.curve if one[0] < answers] + [(answers, learned_return)]

    def again(self, rows: list[dict[str, Any]], given: list[Answer], showing: Showing) -> None:
        """As it was before a stop."""
        for row in rows:
            if row["learned_return"] is not None:
                self._add(row["labels"], row["learned_return"])
        self.learned_return = float(showing.learned_return)
        self._show(given, showing)

    def _show(self, given: list[Answer], showing: Showing) -> None:
        self.foreseen = questions.foreseen(given)
        self.now = showing.obs
        self._picture = self.desk.picture(showing.obs, showing.replay)
        self._about = {"foreseen": self.foreseen, "agreement": self.desk.agreement()}

    def tell(self, state: RLHFState, doing: str, at_once: bool = False) -> None:
        """Say what is done now, if that is new or was said some time ago."""
        before, when = self._told
        if not at_once and time.monotonic() - when < (BEAT if doing == before else TELL):
            return
        self._told = doing, time.monotonic()
        self.desk.show(self._status(state, doing), self._picture)

    def finish(self, state: RLHFState) -> None:
        """All is learned, and the report written."""
        self.desk.show(self._status(state, "done") | {"report": True}, self._picture)

    def _status(self, state: RLHFState, doing: str) -> dict[str, Any]:
        return {
            "doing": doing,
            "answers": int(state.answers.count),
            "labels": self.labels,
            "steps": int(state.steps),
            "updates": int(state.ppo.updates),
            "curve": self.curve[-500:],
            "at": time.time(),
            **self._about,
        }
