"""What a run has left in its directory, for commands that look at it."""

import json
from pathlib import Path
from typing import Any

from metarlhf.errors import UserError


def begun_with(run: Path) -> dict[str, Any]:
    """What the run in a directory was begun with.

    Raises:
        UserError: there is no directory, or no run in it.
    """
    if not run.is_dir():
        raise UserError(f"there is no directory {run}: expected that of a run, as --run-dir said")
    if not (run / "config.json").exists():
        raise UserError(f"{run} holds no run: expected a directory with config.json and agent")
    return read_object(run / "config.json")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file.

    Raises:
        UserError: it is damaged.
    """
    try:
        found = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return found if isinstance(found, dict) else {}
