"""The figures of `demo` and `evaluate`, in a few lines for a person."""

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from metarlhf.report import wording


def lines(result: Mapping[str, Any], path: Path) -> list[str]:
    """What came out, family by family, and where the report is."""
    told = [line for family in result["families"] for line in _family(family)]
    return [*told, f"report: {path / 'report.html'}"]


def _family(found: Any) -> list[str]:
    told = [
        f"{found['family']}: {found['labels']} {found['feedback']} taught "
        f"{wording.interval(found['normalised_return'])} of what the true reward does, with the 95 "
        f"% interval over {found['num_tasks']} tasks never seen before, in "
        f"{wording.duration(found['seconds'])} a task"
    ]
    notes = (wording.hardly_learns(found), wording.nothing_adapts(found))
    told += [f"  {note}" for note in notes if note]
    if found.get("scratch_tasks"):
        told.append(
            f"  on {found['scratch_tasks']} of them, to reach the same "
            f"{wording.percent(found['scratch_target'])}:"
        )
    for resource, word in (("labels", "answers"), ("steps", "environment steps")):
        ratio = found[f"scratch_{resource}_ratio"]
        if ratio is not None:
            least = "at least " if found[f"scratch_{resource}_at_least"] else ""
            told.append(f"  learning from scratch takes {least}{ratio:.0f} times as many {word}")
    return told


def versions() -> dict[str, str]:
    """What the figures were measured with."""
    packages = ("metarlhf", "jax", "equinox", "numpy")
    return {"python": platform.python_version()} | {p: metadata.version(p) for p in packages}
