"""Metrics as JSON Lines: one object a line, each with the `step` that it tells of."""

import json
import math
from pathlib import Path
from typing import Any

from metarlhf import files


class MetricsLog:
    """What training has said so far, on disk line by line."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def rewind(self, step: int) -> int:
        """Forget all that was said after `step`, and what a kill cut short; returns how many."""
        found = _read(self.path)
        self.rows = [row for row in found if row["step"] <= step]
        if self.path.exists():
            files.write_text(self.path, "".join(map(_line, self.rows)))
        return len(found) - len(self.rows)

    def append(self, step: int, metrics: dict[str, Any]) -> None:
        """Add a line. Numbers that are not finite are written as null."""
        row = {"step": step} | {name: _finite(value) for name, value in metrics.items()}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(path: Path) -> list[dict[str, Any]]:
    """All whole lines up to the first that is not."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict) or "step" not in row:
            break
        rows.append(row)
    return rows
