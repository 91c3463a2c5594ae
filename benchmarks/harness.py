"""What the rows share: what a figure is, its confidence interval, and how results are kept."""

import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from metarlhf.files import write_json
from metarlhf.statistics import Interval

ROOT = Path(__file__).resolve().parent.parent
ROWS = Path(__file__).resolve().parent / "rows"
RESULTS = Path(__file__).resolve().parent / "results"

# The order of the README's table: what can be done, what it saves, how long it takes.
ORDER = (
    "finn2017",
    "update-rules",
    "mujoco-meta",
    "few-shot-10",
    "few-shot-20",
    "ratings-10",
    "labels-ratio",
    "steps-ratio",
    "combination",
    "reward-kinds",
    "estimators",
    "attribution",
    "additive-reward",
    "optimiser-transfer",
    "inner-step-memory",
    "meta-throughput",
    "meta-scaling",
    "meta-iteration-vs-learn2learn",
    "adapt-time",
    "demo-time",
    "explain-time",
    "ppo-throughput",
    "ppo-vs-sb3",
    "ppo-vs-rejax",
    "ppo-mujoco-vs-sb3",
    "ppo-roofline",
    "ppo-seeds",
    "ppo-compile",
    "ppo-learning",
    "ppo-minatar",
    "answer-latency",
    "answer-throughput",
    "kill-schedule",
    "teach-overhead",
    "rlhf-vs-imitation",
    "teachers",
    "wrong-answers",
    "influence",
    "calibration",
    "over-optimisation",
    "constraint",
    "house",
)


@dataclass(frozen=True)
class Options:
    """What the command line tells a row.

    Attributes:
        quick: measure something small, to see that the row works; never a figure to publish.
        seeds: how many seeds to use instead of the row's own number, or None.
        tasks: how many held-out tasks to use instead of the row's own number, or None.
    """

    quick: bool = False
    seeds: int | None = None
    tasks: int | None = None


@dataclass(frozen=True)
class Result:
    """One figure of a row.

    Attributes:
        row: the row's name, as in `ROW`.
        name: what is measured, e.g. "navigation" where a row has a figure for each family.
        value: the figure.
        unit: its unit, e.g. "s"; empty for a pure number.
        low, high: 95 % confidence interval, or None where there is none.
        must, aim: the value that has to be reached, and the one hoped for, if any.
        better: whether a higher or a lower value is the better one.
        at_least: the true value is `value` or more: the measurement ended before it showed.
        seeds: the seeds that were used.
        details: anything JSON can hold that helps to understand the figure.

    Raises:
        ValueError: a number is not finite, or `low` is above `high`.
    """

    row: str
    name: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    must: float | None = None
    aim: float | None = None
    better: Literal["higher", "lower"] = "higher"
    at_least: bool = False
    seeds: tuple[int, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: str, name: str, found: Interval, **more: Any) -> "Result":
        """The mean of `found`, and its confidence interval."""
        return cls(row, name, found.mean, low=found.low, high=found.high, **more)

    def __post_init__(self) -> None:
        """Refuse what JSON and the table could not show."""
        for name in ("value", "low", "high", "must", "aim"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(
                    f"{self.row}, {self.name}: {name} is {number}, expected a finite number. "
                    "Leave out what could not be measured, or give a bound with at_least=True."
                )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.row}, {self.name}: low {self.low} is above high {self.high}.")

    def met(self, target: float | None) -> bool | None:
        """Whether the value (not its interval) is as good as `target`; None without one."""
        if target is None:
            return None
        return bool(self.value >= target if self.better == "higher" else self.value <= target)

    def as_json(self) -> dict[str, Any]:
        """The entry of `figures` in the row's file."""
        return {
            "name": self.name,
            "value": float(self.value),
            "low": None if self.low is None else float(self.low),
            "high": None if self.high is None else float(self.high),
            "unit": self.unit,
            "better": self.better,
            "at_least": self.at_least,
            "must": self.must,
            "met_must": self.met(self.must),
            "aim": self.aim,
            "met_aim": self.met(self.aim),
            "details": self.details,
        }


def in_order(rows: Iterable[str]) -> list[str]:
    """Rows as in `ORDER`, then any others by name."""
    return sorted(rows, key=lambda row: (ORDER.index(row) if row in ORDER else len(ORDER), row))


def row_names() -> list[str]:
    """The rows there are, found in `benchmarks/rows`."""
    modules = (path.stem for path in ROWS.glob("*.py") if not path.stem.startswith("_"))
    return in_order(stem.replace("_", "-") for stem in modules)


def versions() -> dict[str, str | None]:
    """What the figures were measured with."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", "equinox", "optax", "numpy", "metarlhf"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found | {"commit": _commit()}


def _commit() -> str | None:
    """The commit checked out, with "+changes" where files of the code differ from it."""

    def git(*args: str) -> str:
        command = ["git", "-C", str(ROOT), *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + (
            "+changes"
            if git("status", "--porcelain", "src", "benchmarks/*.py", "benchmarks/rows")
            else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # not a checkout


def machine() -> dict[str, Any]:
    """Cores this process may use, the CPU's name and the kind of device JAX computes on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    # Asked only of a row that used JAX: starting it for this alone would take memory and seconds.
    jax = sys.modules.get("jax")
    return {"cores": cores, "cpu": model, "device": jax.default_backend() if jax else None}


def save(
    row: str, results: Result | Iterable[Result], *, command: str, seconds: float, folder: Path
) -> Path:
    """Write `folder/<row>.json` and return its path.

    Raises:
        ValueError: there is no figure, a figure of another row, or two of one name.
    """
    figures = [results] if isinstance(results, Result) else list(results)
    names = [figure.name for figure in figures]
    if not figures or len(set(names)) < len(names) or any(f.row != row for f in figures):
        raise ValueError(
            f"the row {row} gave {[(f.row, f.name) for f in figures]}; "
            f"expected one figure or more, all of row {row}, each with a name of its own."
        )
    path = folder / f"{row}.json"
    content = {
        "row": row,
        "figures": [figure.as_json() for figure in figures],
        "seeds": sorted({seed for figure in figures for seed in figure.seeds}),
        "command": command,
        "versions": versions(),
        **machine(),
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(path, content)
    return path


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock time that has gone by."""
        return time.perf_counter() - self._start
