"""A command's run: its directory, its metrics' loggers, and what it tells."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from metarlhf import runs
from metarlhf.cli.options import RunOptions, TrainOptions
from metarlhf.cli.parsing import as_toml
from metarlhf.errors import UserError

# Options that do not decide what a run does: it goes on with others too.
PASSING = ("run_dir", "resume", "json", "log")
CONFIG = "config.toml"


def open_run(
    options: RunOptions,
    name: str,
    begins_with: str | None = None,
    along: str = "step",
    passing: Sequence[str] = (),
) -> runs.RunDirectory:
    """The run's directory, with the options in a file for `--config`.

    Args:
        options: the command's.
        name: of the directory in `runs`, unless options name another.
        begins_with: tells apart what the run begins with: a prior published anew in one place.
        along: the metric that TensorBoard draws the others over.
        passing: options that do not decide what the run does, besides those of every command.
    """
    from metarlhf import files

    path = options.run_dir or Path("runs") / name
    kept = {
        entry.name: getattr(options, entry.name)
        for entry in fields(options)
        if entry.name not in (*PASSING, *passing)
    }
    if begins_with is not None:
        kept["begins_with"] = begins_with
    chosen = options.log if isinstance(options, TrainOptions) else None
    if options.resume and not (path / "config.json").exists():
        say(f"there is no run in {path} to resume: this is its beginning")
    make = logger(chosen, along) if chosen else None
    new = not path.exists()
    run = runs.RunDirectory(path, _plain(kept), resume=options.resume, upgrade=as_called_now)
    try:
        if make:
            run.metrics.follow(make(path))
        if not (path / CONFIG).exists():
            text = as_toml(options, without=("run_dir", "resume", "json", *passing))
            files.write_bytes(path / CONFIG, text.encode())
    except BaseException:
        run.close()
        if new:  # A logger that cannot be had leaves no run behind.
            shutil.rmtree(path)
        raise
    return run


def as_called_now(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was begun with, where options had other names."""
    if "family" in config or "task" not in config:
        return dict(config)
    now = {"task": "family", "number": "task"}
    if "scratch_tasks" in config:
        now["config"] = "joint"
    found = {now.get(name, name): value for name, value in config.items()}
    if found.get("env") is not None:
        found["family"] = None
    return found


def begun_with(run: Path) -> dict[str, Any]:
    """What the run in a directory was begun with.

    Raises:
        UserError: there is no directory, or no run in it.
    """
    if not run.is_dir():
        raise UserError(f"there is no directory {run}: expected that of a run, as --run-dir said")
    if not (run / "config.json").exists():
        raise UserError(f"{run} holds no run: expected a directory with config.json and agent")
    return as_called_now(read_object(run / "config.json"))


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


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value


def logger(name: str, along: str = "step") -> Callable[[Path], runs.Logger]:
    """What makes a logger of the run's directory: `tensorboard`'s, or `MODULE:NAME`.

    The module may lie in the current directory.

    Raises:
        UserError: there is none of that name; or, once called, what it makes is no logger.
    """
    from metarlhf.envs.naming import module

    if name == "tensorboard":
        return lambda run_dir: runs.TensorBoard(run_dir / "tensorboard", along)
    in_module, _, attribute = name.partition(":")
    if not in_module or not attribute:
        raise UserError(
            f"no logger is called {name!r}: expected tensorboard, or MODULE:NAME for your own"
        )
    found = module(in_module)
    if not hasattr(found, attribute):
        raise UserError(f"the module {in_module!r} has no {attribute!r} for --log")

    def make(run_dir: Path) -> runs.Logger:
        made = getattr(found, attribute)(run_dir)
        if not isinstance(made, runs.Logger):
            raise UserError(
                f"{name} makes no logger: expected the methods begin, log and close of "
                "metarlhf.runs.Logger"
            )
        return made

    return make


def say(text: str) -> None:
    """A line about how it goes, on standard error: results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def show(result: Mapping[str, Any], lines: Sequence[str], as_json: bool) -> int:
    """What came out: some lines for a person, or one JSON object as the last line."""
    for line in lines:
        print(line)
    if as_json:
        print(json.dumps(result, allow_nan=False))
    return 0
