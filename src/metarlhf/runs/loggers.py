"""What a logger is, and the first of them: JSON Lines, which every run writes."""

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from metarlhf import files

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
