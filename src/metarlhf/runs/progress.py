"""How far a run is, and an honest guess of what remains, on standard error."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

# Between two lines where there is no terminal to draw a bar in.
QUIET_SECONDS = 10.0


class Progress:
    """A bar in a terminal, now and then a line elsewhere.

    The first step compiles, so it says nothing about the rate: what remains is the median step of
    those after it, times how many are left.
    """

    def __init__(
        self, what: str, total: int, done: int = 0, counted: str | None = None, unit: str = ""
    ):
        """`counted` names the metric that `total` is of, where it is not the steps themselves.

        Who waits for people cannot guess what remains. `unit` is what steps are called.
        """
        self.what, self.total, self.first, self.counted = what, total, done, counted
        self.of = f"{total} {unit}".rstrip()
        self._console = Console(stderr=True)
        self._times: list[float] = []
        self._last = self._told = time.monotonic()
        # Not every step says one anew.
        self._return: float | None = None
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.completed}}/{self.of}"),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=False,
        )

    def __enter__(self) -> "Progress":
        begins = "compiling" if self.first < self.total else "done before"
        if self._console.is_terminal:
            self._bar.start()
            self._task = self._bar.add_task(
                self.what, total=self.total, completed=self.first, note=begins
            )
        else:
            self.say(f"{self.what}: {self.first}/{self.of}, {begins}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def remaining(self, done: int) -> float | None:
        """Seconds still to go; None until there is something to tell it by."""
        after_first = sorted(self._times[1:])
        if not after_first:
            return None
        return after_first[len(after_first) // 2] * (self.total - done)

    def show(self, done: int, metrics: dict[str, Any]) -> None:
        """`done` steps are done; the last one said `metrics`."""
        now = time.monotonic()
        self._times = [*self._times[-20:], now - self._last]
        self._last = now
        if self.counted is not None:
            done = metrics[self.counted]
        note = self.counted or self._note(done, metrics)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, note=note)
        elif now - self._told > QUIET_SECONDS or done == self.total:
            self._told = now
            self.say(f"{self.what}: {done}/{self.of}, {note}")

    def ended(self, done: int) -> None:
        """It is over after `done` steps."""
        if done < self.total and self.counted is None:
            self.say(f"{self.what}: ended after {done} of {self.of}")

    def say(self, line: str) -> None:
        """A line beside the bar, or by itself."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _note(self, done: int, metrics: dict[str, Any]) -> str:
        remaining = self.remaining(done)
        left = "" if remaining is None or done == self.total else f", {clock(remaining)} left"
        self._return = metrics.get("return", self._return)
        return (f"return {self._return:.2f}" if self._return is not None else "done") + left


def clock(seconds: float) -> str:
    """Minutes and seconds, as people read them."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
