"""What people are told about a lesson while it goes on."""

import time
from typing import Any

from metarlhf.labels import reading
from metarlhf.labels.desk import Desk
from metarlhf.labels.records import Answer, Clip
from metarlhf.labels.stage import Showing
from metarlhf.rlhf import RLHFState

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
        self.foreseen = reading.foreseen(given)
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
