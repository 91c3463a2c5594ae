"""The loop that every long command is: step, log, show, save, until done or told to stop."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from metarlhf.runs.directory import RunDirectory
from metarlhf.runs.errors import UserError
from metarlhf.runs.progress import Progress
from metarlhf.runs.sound import first_nan

State = TypeVar("State")
Metrics = dict[str, Any]


class Interrupted(Exception):  # noqa: N818 - no error: it was asked for
    """The person pressed Ctrl-C; what was done is saved."""


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed. A second time it stops at once, as always."""
    asked = []

    def note(number, frame):
        asked.append(number)
        signal.signal(signal.SIGINT, previous)

    previous = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, note)
    except ValueError:  # Not in the main thread: nobody can press anything.
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, previous)


class _Savings:
    """Checkpoints now and then."""

    def __init__(self, run: RunDirectory, seconds: float):
        self.run, self.seconds = run, seconds
        self.at, self.unsaved = time.monotonic(), False

    def after_a_step(self, done: int, state: Any) -> None:
        self.unsaved = True
        if time.monotonic() - self.at > self.seconds:
            self._save(done, state)

    def before_a_wait(self, done: int, state: Any) -> None:
        if self.unsaved:  # Nobody knows how long it will be.
            self._save(done, state)

    def _save(self, done: int, state: Any) -> None:
        self.run.save(done, state)
        self.at, self.unsaved = time.monotonic(), False


def drive(
    run: RunDirectory,
    what: str,
    start: Callable[[], State],
    step: Callable[[State, int], tuple[State, Metrics]],
    total: int,
    *,
    stop: Callable[[list[Metrics]], bool] = lambda rows: False,
    restored: Callable[[State], State] = lambda state: state,
    ready: Callable[[State], bool] = lambda state: True,
    counted: tuple[str, int] | None = None,
    unit: str = "",
    save_seconds: float = 10.0,
) -> State:
    """Call `step(state, i)` for i from 0 to `total`, from `start()` or the last checkpoint on.

    Args:
        run: where metrics and checkpoints go.
        what: in words, for the progress bar.
        start: makes the first state; what is restored must have its structure.
        step: pure; the same state and i give the same result, killed in between or not.
        total: number of steps.
        stop: whether to stop before, seeing all metrics so far.
        restored: sets up anew what no checkpoint holds, in the state that one gave.
        ready: whether there is anything to do; asked again and again until there is, so it should
            take a moment to say no.
        counted: a metric that tells better than steps how far it is, and what it will get to.
        unit: what a step is, in words, such as "rounds".
        save_seconds: time between two checkpoints.

    Raises:
        Interrupted: Ctrl-C; the last step is finished and saved first.
        UserError: the state, or the return, is no number any more; what it was before is saved.
    """
    state = start()
    done, kept = run.checkpoints.restore(state) or (0, None)
    state = state if kept is None else restored(kept)
    lost = run.metrics.rewind(done)
    savings = _Savings(run, save_seconds)
    name, goal = counted or (None, total)
    with (
        Progress(what, goal, 0 if name else done, name, unit) as progress,
        _stop_requests() as stop_requested,
    ):
        if lost:
            progress.say(f"{what}: {lost} steps were done after the last checkpoint, and are again")
        while done < total and not stop(run.metrics.rows):
            while not (stop_requested() or ready(state)):
                savings.before_a_wait(done, state)
            if stop_requested():
                run.save(done, state)
                where = (
                    f"{done} of {total}" if counted is None else f"{done} step{'s'[: done != 1]}"
                )
                raise Interrupted(
                    f"stopped after {where}; go on with the same command and --resume"
                )
            before, (state, metrics) = state, step(state, done)
            _stop_at_nan(run, what, done, before, state, metrics)
            done += 1
            run.metrics.append(done, metrics)
            progress.show(done, metrics)
            savings.after_a_step(done, state)
        progress.ended(done)
    run.save(done, state)
    return state


def _stop_at_nan(run, what: str, done: int, before, state, metrics: Metrics) -> None:
    """Refuse to go on with what is no number, and to save it."""
    name = first_nan(state)
    if name is None and math.isfinite(metrics.get("return") or 0.0):
        return
    run.save(done, before)
    at = f", at {metrics['steps']} environment steps," if "steps" in metrics else ""
    raise UserError(
        f"{what} diverged: in step {done + 1}{at} {name or 'the return'} is not a number. The last "
        f"good state, after step {done}, is in {run.checkpoints.folder}. Begin again in another "
        "--run-dir with a smaller step size: --help names the options"
    )
