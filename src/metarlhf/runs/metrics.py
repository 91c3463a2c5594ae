"""Metrics of a run: JSON Lines, which every run writes, and loggers that follow them.

A run that resumes goes back to its last checkpoint, so every logger is rewound to it: no step is
logged twice, and none is missing.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from metarlhf import files
from metarlhf.errors import UserError

# What one step said: its number as `step`, and metrics by name, each a number, a list of numbers,
# or None where there is none (nothing to measure, NaN, infinity).
Row = dict[str, Any]


@runtime_checkable
class Logger(Protocol):
    """Where a run's metrics go, row by row, as training goes on; all calls come from one thread."""

    def begin(self, rows: list[Row]) -> None:
        """Training begins, or goes on from a checkpoint; comes before the first `log`.

        `rows` are those of the steps that it goes on from; none at the very beginning. What was
        logged of later steps before a crash has to go: those steps are made again. What is missing
        of `rows` (the logger is new, or lost something) may be made up for.
        """
        ...

    def log(self, row: Row) -> None:
        """A step was made; its number is one more than the last."""
        ...

    def close(self) -> None:
        """The run ends here, finished or not. May come without a `begin`, and more than once."""
        ...


class JsonLines:
    """One JSON object a line."""

    def __init__(self, path: Path):
        self.path = path

    def begin(self, rows: list[Row]) -> None:
        if self.path.exists():
            files.write_text(self.path, "".join(map(_line, rows)))

    def log(self, row: Row) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))

    def close(self) -> None:
        """Nothing is open between two lines."""

    def read(self) -> list[Row]:
        """All whole lines up to the first that is not."""
        rows: list[Row] = []
        if not self.path.exists():
            return rows
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict) or "step" not in row:
                break
            rows.append(row)
        return rows


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


class TensorBoard:
    """Scalars by the names of the metrics; of a list each number by itself, as `name/0`.

    TensorFlow's writers begin another file where a run goes on, and leave the steps that are made
    again in the old one, for readers to sort out. Here one new file takes the place of the old
    one: its events keep their times, those of steps that are made again go.
    """

    def __init__(self, folder: Path, by: str = "step"):
        """Log into `folder`, which is for nothing else.

        Args:
            folder: made when training begins.
            by: the metric along the horizontal axis; whole numbers that grow from row to row.

        Raises:
            UserError: tensorboardX is not installed.
        """
        try:
            from tensorboardX.proto import event_pb2
            from tensorboardX.record_writer import RecordWriter, masked_crc32c
        except ImportError as error:
            raise UserError(
                "tensorboardX is not installed. It comes with the extra 'tensorboard': "
                "pip install 'metarlhf[tensorboard]', or pip install '.[tensorboard]' in a checkout"
            ) from error
        messages: Any = event_pb2  # Its classes are made at run time, unseen by a type checker.
        self._event = messages.Event
        self._open, self._crc = RecordWriter, masked_crc32c
        self._folder, self._by = folder, by
        self._writer: Any = None

    def begin(self, rows: list[Row]) -> None:
        old = sorted(self._folder.glob("events.out.tfevents.*"))
        events = self._kept(old[-1], rows) if old else []
        newest = events[-1].step if events else -1
        events += [self._of(row) for row in rows if row[self._by] > newest]
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / "unfinished"
        self._writer = self._open(str(unfinished))
        self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"), *events)
        # A name of its own each time: a TensorBoard that is watching takes it for the news it is.
        unfinished.rename(self._folder / f"events.out.tfevents.{time.time_ns()}.metarlhf")
        for other in old:
            other.unlink()

    def log(self, row: Row) -> None:
        assert self._writer is not None, "begin comes first"
        self._write(self._of(row))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, *events: Any) -> None:
        for event in events:
            self._writer.write(event.SerializeToString())
        self._writer.flush()

    def _of(self, row: Row) -> Any:
        event = self._event(wall_time=time.time(), step=row[self._by])
        for name, value in _scalars(row):
            if name not in ("step", self._by):
                event.summary.value.add(tag=name, simple_value=value)
        return event

    def _kept(self, path: Path, rows: list[Row]) -> list[Any]:
        """The events of a file that tell of `rows`."""
        last = rows[-1][self._by] if rows else -1
        events = map(self._event.FromString, self._records(path))
        return [event for event in events if event.HasField("summary") and event.step <= last]

    def _records(self, path: Path) -> Iterator[bytes]:
        """All whole records up to the first that is not; tensorboardX itself only writes."""
        check = lambda content: self._crc(content).to_bytes(4, "little")
        with path.open("rb") as file:
            while (length := file.read(8)) and file.read(4) == check(length):
                record = file.read(int.from_bytes(length, "little"))
                if file.read(4) != check(record):
                    return
                yield record


def _scalars(row: Row) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, list):
            yield from _scalars({f"{name}/{i}": part for i, part in enumerate(value)})
        elif isinstance(value, int | float):
            yield name, float(value)


class MetricsLog:
    """All rows up to now. The lines on disk are what a run goes on from; loggers follow them."""

    def __init__(self, path: Path):
        self.rows: list[Row] = []
        self._lines = JsonLines(path)
        self._loggers: list[Logger] = [self._lines]

    def follow(self, logger: Logger) -> None:
        """Let `logger` have all rows, too; before training begins or goes on."""
        self._loggers.append(logger)

    def rewind(self, step: int) -> int:
        """Forget all that was said after `step`, and what a kill cut short; returns how many."""
        found = self._lines.read()
        self.rows = [row for row in found if row["step"] <= step]
        for logger in self._loggers:
            logger.begin(list(self.rows))
        return len(found) - len(self.rows)

    def append(self, step: int, metrics: dict[str, Any]) -> None:
        """Add a row. Numbers that are not finite become None."""
        row = {"step": step} | {name: _finite(value) for name, value in metrics.items()}
        self.rows.append(row)
        for logger in self._loggers:
            logger.log(dict(row))

    def close(self) -> None:
        """Let every logger finish."""
        for logger in self._loggers:
            logger.close()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
