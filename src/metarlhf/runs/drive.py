"""Training in a run's directory: metrics, progress, checkpoints, Ctrl-C."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from metarlhf.errors import Interrupted, UserError
from metarlhf.runs.directory import RunDirectory
from metarlhf.runs.progress import Progress
from metarlhf.training import Callback, DivergedError, Loop, Metrics, Stopped, iterate

State = TypeVar("State")


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


class _Keeper(Callback):
    """The run directory and the progress bar, as a callback of the loop."""

    def __init__(self, run: RunDirectory, what: str, progress: Progress, save_seconds: float):
        self.run, self.what, self.progress = run, what, progress
        self.save_seconds, self.saved_at, self.unsaved = save_seconds, time.monotonic(), False

    def after_step(self, done: int, state: Any, metrics: Metrics) -> None:
        self.run.metrics.append(done, metrics)
        self.progress.show(done, metrics)
        self.unsaved = True
        if time.monotonic() - self.saved_at > self.save_seconds:
            self._save(done, state)

    def before_wait(self, done: int, state: Any) -> None:
        if self.unsaved:  # Nobody knows how long it will be.
            self._save(done, state)

    def on_divergence(self, done: int, state: Any, error: DivergedError) -> None:
        self.run.save(done, state)

    def _save(self, done: int, state: Any) -> None:
        self.run.save(done, state)
        self.saved_at, self.unsaved = time.monotonic(), False


def drive(run: RunDirectory, what: str, loop: Loop[State], save_seconds: float = 10.0) -> State:
    """Train in a run's directory, from the beginning or from the last checkpoint on.

    Args:
        run: where metrics and checkpoints go.
        what: in words, for the progress bar.
        loop: what is trained.
        save_seconds: time between two checkpoints.

    Returns:
        The last state, which is saved.

    Raises:
        Interrupted: Ctrl-C; the last step is finished and saved first.
        UserError: the state, or the return, is no number any more; what it was before is saved.
    """
    state = loop.start()
    done, kept = run.checkpoints.restore(state) or (0, None)
    lost = run.metrics.rewind(done)
    state = state if kept is None else loop.restored(kept, run.metrics.rows)
    name, goal = loop.progress or (None, loop.total)
    with (
        Progress(what, goal, 0 if name else done, name, loop.unit) as progress,
        _stop_requests() as stop_requested,
    ):
        if lost:
            progress.say(f"{what}: {lost} steps were done after the last checkpoint, and are again")
        keeper = _Keeper(run, what, progress, save_seconds)
        rows, last = run.metrics.rows, state
        try:
            for after, _ in iterate(loop, state, rows, done, [keeper], stop_requested):
                done, last = done + 1, after
        except Stopped as stopped:
            run.save(stopped.done, stopped.state)
            where = f"{done} of {loop.total}" if name is None else f"{done} step{'s'[: done != 1]}"
            raise Interrupted(
                f"stopped after {where}; go on with the same command and --resume"
            ) from stopped
        except DivergedError as error:
            at = f", at {error.steps} environment steps," if error.steps is not None else ""
            raise UserError(
                f"{what} diverged: in step {done + 1}{at} {error}. The last good state, after step "
                f"{done}, is in {run.checkpoints.folder}. Begin again in another --run-dir with a "
                "smaller step size: --help names the options"
            ) from error
        progress.ended(done)
    run.save(done, last)
    return last
