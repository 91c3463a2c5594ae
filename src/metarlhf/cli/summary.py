"""The figures of `demo` and `evaluate`, in a few lines for a person."""

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any


def lines(result: Mapping[str, Any], path: Path) -> list[str]:
    """What came out, family by family, and where the report is."""
    told = [line for family in result["families"] for line in _family(family)]
    return [*told, f"report: {path / 'report.html'}"]


def _family(found: Mapping[str, Any]) -> list[str]:
    mean, low, high = (found["normalised_return"][name] for name in ("mean", "low", "high"))
    labels, feedback = found["labels"], found["feedback"]
    taught = f"{labels} {feedback}" if labels else "gradient steps on the task's own reward"
    told = [
        f"{found['family']}: {taught} taught {mean:.0%} of what the true reward does "
        f"(95 % interval {low:.0%} to {high:.0%}, {found['num_tasks']} tasks never seen before), "
        f"in {found['seconds']:.1f} s a task"
    ]
    gain = found.get("gain")
    if gain and gain["low"] <= 0:
        told.append(
            f"  nothing adapts: that is {gain['mean']:+.0%} on what it did before it was taught "
            f"({gain['low']:+.0%} to {gain['high']:+.0%})"
        )
    if found.get("scratch_tasks"):
        told.append(
            f"  on {found['scratch_tasks']} of them, to reach the same "
            f"{found['scratch_target']:.0%}:"
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
