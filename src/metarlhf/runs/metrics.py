"""What a run has said so far: kept on disk as JSON Lines, and passed on to other loggers."""

import math
from pathlib import Path
from typing import Any

from metarlhf.runs.loggers import JsonLines, Logger, Row


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
