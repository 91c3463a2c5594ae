"""The people who teach, as the loop has them: it asks, and learns from what they answered.

A database in between is all that the loop and the page share: either may stop, be killed and go on
without the other.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metarlhf.envs import Shown, scene
from metarlhf.envs.adapters.replays import Replay
from metarlhf.errors import UserError
from metarlhf.reward.cost import Marks
from metarlhf.rlhf import RLHFState
from metarlhf.rlhf.constraints import no_marks
from metarlhf.rlhf.propose import Proposal, Said
from metarlhf.teach import people, questions
from metarlhf.teach.database import Database
from metarlhf.teach.films import film_of
from metarlhf.teach.records import Answer, Clip, Correction, NewQuestion, Origin
from metarlhf.types import Segment

# Time between two looks for answers, in seconds: a look takes a thousandth.
PAUSE = 0.05


class HumanTeacher:
    """The people who answer the questions of one run.

    Args:
        database: where questions and answers are kept.
        run: the run's number there.
        shown: what the agent acts in, and how its clips are drawn.
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
        # Where answers are read: a lesson that is done again reads those of the one that was.
        self.source = database, run
        self._clips: dict[int, Segment] = {}
        self._now: int | None = None
        self._version: questions.FeedbackVersion | None = None
        self._looked, self._changed = 0.0, False

    def ask(
        self,
        proposal: Proposal,
        wanted: int,
        number: int,
        ratings: bool,
        origin: Callable[[int], Origin] = lambda clip: Origin(),
    ) -> int:
        """Ask what so many answers need, in one transaction.

        Questions of earlier rounds that nobody has looked at are withdrawn where there are enough
        new ones.

        Args:
            proposal: what may be asked, the most telling first.
            wanted: how many answers all that is open is to be good for.
            number: of the round.
            ratings: ask for a mark of each first clip instead of comparisons.
            origin: where a clip comes from, by its number.

        Returns:
            How many answers all that is open is good for.
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

    def withdraw(self) -> None:
        """Withdraw all questions that are open, as when a lesson is over."""
        with self.database.write(alone=True) as connection:
            questions.withdraw(connection, self.run)

    def staying(self, number: int) -> int:
        """How many answers what is open is good for that stays when round `number` asks."""
        return self.database.query(questions.staying, self.run, number)

    def count(self) -> questions.Count:
        """How many answers that the lesson learns from stand, and how many are open."""
        return self.database.query(questions.count, self.run, self.annotator)

    def open(self) -> int:
        """How many more answers what was asked is good for."""
        return self.count().open

    def changed(self) -> bool:
        """Whether anything was answered or taken back since `feedback`; looks once in `PAUSE`."""
        if not self._changed and time.monotonic() - self._looked > PAUSE:
            self._looked = time.monotonic()
            self._changed = (
                self.database.query(questions.feedback_version, self.run) != self._version
            )
        return self._changed

    def feedback(self) -> tuple[list[Answer], list[Correction]]:
        """Answers and corrections that stand, of the people whom the lesson learns from."""
        with self.database.read() as connection:
            self._version, self._changed = questions.feedback_version(connection, self.run), False
            answers = questions.answers(connection, self.run, self.annotator)
            corrections = questions.corrections(connection, self.run, self.annotator)
        return answers, corrections

    def all_feedback(self) -> tuple[list[Answer], list[Correction]]:
        """Answers and corrections of everybody that stand, of the run that is the source."""
        database, run = self.source
        with database.read() as connection:
            return questions.answers(connection, run), questions.corrections(connection, run)

    def record_taken(self, iteration: int, answers: list[int], corrections: list[int]) -> None:
        """Put on record what the loop learns from, from this iteration on, by number."""
        with self.database.write() as connection:
            questions.record_taken(connection, self.run, iteration, answers, corrections)

    def taken_before(self, count: int) -> tuple[list[int], list[int]]:
        """What the loop learned from when it had taken something in `count` times, by number.

        What it took in after that is struck from the record: it is done again.
        """
        with self.database.write() as connection:
            questions.forget_taken(connection, self.run, count)
            taken = list(questions.taken(connection, self.run).values())
        return taken[-1] if taken else ([], [])

    def answers(self, numbers: list[int]) -> list[Answer]:
        """Answers by number."""
        return self.database.query(questions.answers, self.run, numbers=numbers)

    def people(self) -> list[str]:
        """Names of all who may have answered: a person's place is their number for the model."""
        database, run = self.source
        return database.query(people.names, run)

    def replay(
        self, database: Database, run: str, about: dict[str, str]
    ) -> dict[int, tuple[list[Answer], list[Correction]]]:
        """Take the answers of another run, in a session that is done again without its people.

        Args:
            database: where they are kept.
            run: the other run's number there.
            about: what this session is about, as `directory.begin` takes it.

        Returns:
            Answers and corrections by the step from which on the other session learned from them.

        Raises:
            UserError: the other session was about something else.
        """
        with database.read() as connection:
            before = questions.about(connection, run)
            odd = sorted(name for name in about if before.get(name) != about[name])
            if odd:
                raise UserError(
                    f"what is to be done again was another lesson: {', '.join(odd)} differ. Say "
                    "what it was begun with"
                )
            self.source = database, run
            return {
                step: (
                    questions.answers(connection, run, numbers=answers),
                    questions.corrections(connection, run, numbers=corrections),
                )
                for step, (answers, corrections) in questions.taken(connection, run).items()
            }

    def as_said(self, answers: Sequence[Answer], corrections: Sequence[Correction]) -> list[Said]:
        """What the reward learns from: answers and corrections with their clips."""
        self._fetch([clip for one in answers for clip in one.question.shown])
        self._fetch([one.clip for one in corrections])
        number = {name: i for i, name in enumerate(self.people())}
        said = [self._answered(one, number[one.annotator]) for one in answers]
        return said + [self._corrected(one, number[one.annotator]) for one in corrections]

    def asked(self) -> list[Said]:
        """Every question that was ever asked, so that none is asked twice."""
        found = self.database.query(questions.questions, self.run)
        self._fetch([clip for one in found for clip in one.shown])
        return [
            Said(
                self._clips[one.left],
                None if one.right is None else self._clips[one.right],
                0.5 if one.right is not None else 1.0,
            )
            for one in found
        ]

    def marks(
        self, answers: Sequence[Answer], corrections: Sequence[Correction], room: int
    ) -> Marks:
        """What a cost is learned from: clips that were looked over, and which steps were bad.

        Args:
            answers: their clips were looked over.
            corrections: steps that were called bad.
            room: how many clips there are. Those with a bad step come first, then the newest.
        """
        marked: dict[int, set[int]] = {one.clip: set() for one in corrections}
        for one in corrections:
            marked[one.clip].add(one.step)
        others = [clip for one in reversed(answers) for clip in one.question.shown]
        kept = list(dict.fromkeys([*reversed(marked), *others]))[:room]
        self._fetch(kept)
        nothing = no_marks(self.shown, room)
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

    def picture(self, obs: Any, replay: Replay | None = None) -> Clip:
        """What the agent does now, as the page shows it: observations [time, ...], or a replay."""
        obs = np.asarray(obs)
        arrays = {"obs": obs, "action": np.zeros(len(obs), np.float32)}
        return Clip(arrays, self._scene(obs, replay), source="now", replay=replay)

    def last_film(self, seconds: float) -> bytes | None:
        """The film of what was shown last, waited for so long; None where it is drawn."""
        return film_of(self.database, self._now, seconds) if self._now is not None else None

    def show(self, status: dict[str, Any], now: Clip | None = None) -> None:
        """Tell the page what the loop does, and what the agent does now."""
        with self.database.write() as connection:
            if now is not None:
                self._now = questions.keep(connection, self.run, now)
                status = status | {"now": self._now}
            questions.set_status(connection, self.run, status)

    def _clip(self, clip: Segment, number: int, origin: Origin) -> Clip:
        arrays = {"obs": clip.obs, "action": clip.action, "task_reward": clip.task_reward}
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        drawn = self._scene(arrays["obs"], origin.replay)
        return Clip(arrays, drawn, origin.source, number, origin.replay)

    def _scene(self, obs: np.ndarray, replay: Replay | None) -> dict[str, Any]:
        if replay is None:
            return scene(self.shown, obs)
        words = f"a film of {len(obs)} steps of {self.shown.name}"
        return {"film": True, "steps": len(obs), "words": words}

    def _answered(self, answer: Answer, annotator: int) -> Said:
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

    def _corrected(self, correction: Correction, annotator: int) -> Said:
        """A bad moment: the clip as it is, is better than one that were all like it."""
        clip = self._clips[correction.clip]
        moment = jax.tree.map(lambda x: jnp.repeat(x[correction.step][None], len(x), 0), clip)
        return Said(first=moment, second=clip, value=1.0, annotator=annotator)

    def _fetch(self, clips: Sequence[int]) -> None:
        missing = set(clips) - self._clips.keys()
        if not missing:
            return
        found = self.source[0].query(questions.arrays, missing)
        for number, arrays in found.items():
            reward = arrays.get("task_reward", np.zeros(len(arrays["obs"]), np.float32))
            parts = (arrays["obs"], arrays["action"], reward)
            # NumPy's from here on: they are looked through again with each answer.
            self._clips[number] = jax.device_get(Segment(*map(jnp.asarray, parts)))


# The page is told at most so often, in seconds: each time is a write that is synced to disk.
_OFTEN = 0.5
# So often it is told that nothing has changed: so it knows that the loop goes on.
_HEARTBEAT = 5.0


class Showing(NamedTuple):
    """What the agent does now, and what its reward model says to it."""

    obs: Float[Array, "time obs"] | Float[np.ndarray, "time obs"]
    learned_return: Float[Array, ""]
    replay: Replay | None = None
    """How to see it again, in a simulator that is filmed."""


class LiveStatus:
    """What people are told about a lesson while it goes on, and what its report shows in the end.

    Args:
        teacher: whose page is told.
        labels: the budget of answers.

    Attributes:
        learned_return: the agent's return by its reward model, when it last took answers in.
        foreseen: share of the newest answers that the model had foreseen.
        curve: learned return by the number of answers.
        now: observations [time, obs] of what the agent does now.
    """

    def __init__(self, teacher: HumanTeacher, labels: int):
        self.teacher, self.labels = teacher, labels
        self.learned_return: float | None = None
        self.foreseen: float | None = None
        self.curve: list[tuple[int, float]] = []
        self.now: Any = None
        self._about: dict[str, Any] = {}
        self._picture: Clip | None = None
        self._told = ("", 0.0)

    def update(self, given: list[Answer], showing: Showing) -> None:
        """There were answers, and the agent does something else now."""
        self._add(len(given), float(showing.learned_return))
        self._show(given, showing)

    def restore(
        self, rows: Sequence[dict[str, Any]], given: list[Answer], showing: Showing
    ) -> None:
        """As it was before a stop, by the metrics that were written."""
        for row in rows:
            if row["learned_return"] is not None:
                self._add(row["labels"], row["learned_return"])
        self._show(given, showing)

    def tell(self, state: RLHFState, doing: str, at_once: bool = False) -> None:
        """Say what is done now, if that is new or was said some time ago."""
        before, when = self._told
        pause = _HEARTBEAT if doing == before else _OFTEN
        if at_once or time.monotonic() - when >= pause:
            self._told = doing, time.monotonic()
            self.teacher.show(self._status(state, doing), self._picture)

    def finish(self, state: RLHFState) -> None:
        """All is learned, and the report written."""
        self.teacher.show(self._status(state, "done") | {"report": True}, self._picture)

    def _add(self, answers: int, learned_return: float) -> None:
        """A point of the curve, which begins anew where answers were taken back."""
        self.curve = [one for one in self.curve if one[0] < answers] + [(answers, learned_return)]

    def _show(self, given: list[Answer], showing: Showing) -> None:
        self.learned_return = float(showing.learned_return)
        self.foreseen = questions.foreseen(given)
        self.now = showing.obs
        self._picture = self.teacher.picture(showing.obs, showing.replay)
        agreement = questions.agreement(self.teacher.all_feedback()[0])
        self._about = {"foreseen": self.foreseen, "agreement": agreement}

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
