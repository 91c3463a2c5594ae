"""What the commands have in common: options, reading them, and saying what came out."""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from metarlhf.cli.logs import logger
from metarlhf.envs import find, host_names, names, varied
from metarlhf.errors import UserError
from metarlhf.runs import RunDirectory

# Options that do not decide what a run does: it goes on with others too.
PASSING = ("run_dir", "resume", "json", "log")

Command = TypeVar("Command")
TaskName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[TASK]")]
PriorPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Vary = Annotated[
    tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="PARAMETER=DISTRIBUTION")
]


@dataclass(frozen=True)
class RunOptions:
    """Where a run lives, and how it speaks."""

    run_dir: Path | None = None
    """Directory of the run; runs/COMMAND-TASK unless named."""
    seed: int = 0
    """All randomness follows from this."""
    resume: bool = False
    """Continue the run in its directory, or show again what came out; begin it if there is none."""
    json: bool = False
    """Print one JSON object as the last line."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to 2**32 - 1, but is {self.seed}")


@dataclass(frozen=True)
class VaryOptions:
    """What varies in a family that is made here and now."""

    vary: Vary = ()
    """Which parameter of a Gymnax environment varies from task to task, and how, as often as there
    are such: "g=uniform(5,15)", "l=log-uniform(0.5,2)", "m=choice(1,2)", or a number for all tasks.
    It becomes part of the family's name, by which other commands find it."""


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """The same of a command that trains, and so has metrics to tell as it goes on."""

    log: str | None = None
    """Where metrics go besides metrics.jsonl: tensorboard, or MODULE:NAME for a logger of your
    own (metarlhf.runs.Logger), which is called with the run's directory."""


def parse(command: type[Command], argv: Sequence[str], prog: str, default: Command) -> Command:
    """Read `argv` into `command`; what is not said is as in `default`.

    Raises:
        UserError: a value that a configuration refuses. (What tyro refuses, it says itself and
            leaves with exit status 2.)
    """
    # Help alone: tyro leaves out of it what has been said already, such as the task.
    words = ["--help"] if asks_for_help(argv) else list(argv)
    try:
        return tyro.cli(command, args=words, prog=f"metarlhf {prog}", default=default)
    except ValueError as error:
        raise UserError(str(error)) from error


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether the words of a command line do."""
    return bool({"-h", "--help"} & set(argv))


def parse_task(
    command: type[Command], argv: Sequence[str], prog: str, default_of: Callable[[str], Command]
) -> Command:
    """As `parse`, of a command whose defaults are those of the task that it names.

    What is to vary (`VaryOptions`) is part of the task's name from here on.

    Raises:
        UnknownTaskError: there is no such task.
    """
    usual: str = command.task  # type: ignore[attr-defined]
    if asks_for_help(argv):
        return parse(command, argv, prog, default_of(family_in(argv, usual)))
    # Which word is the task, and which an option's value, is known once the options are read.
    options = parse(command, argv, prog, default_of(usual))
    given: Any = options  # a dataclass that has a task
    named = varied(given.task, given.vary if isinstance(options, VaryOptions) else ())
    find(named)
    if named == usual:
        return options
    given = parse(command, argv, prog, default_of(named))
    return replace(given, task=named, vary=()) if given.task != named else given


def family_in(argv: Sequence[str], default: str) -> str:
    """The task family that the words of a command line name: its presets are the defaults.

    Raises:
        UnknownTaskError: the first word that is not an option names none.
    """
    known = (*names(), *host_names())
    for word in argv:
        if word in known:
            return word
    if argv and not argv[0].startswith("-"):
        find(varied(argv[0]))
        return varied(argv[0])
    return default


def peek(scan: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list]:
    """What a few options are, before it is known which others there are; and the other words.

    Raises:
        UserError: an option without its value.
    """
    try:
        return scan.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise UserError(f"{error}: --help says what it may be") from error


def one_of_both(argv: Sequence[str], env: str) -> None:
    """Refuse a task beside `--env`.

    Raises:
        UserError: the first word names one, or any word a known one.
    """
    first = [argv[0]] if argv and not argv[0].startswith("-") else []
    for task in first + [word for word in argv if word in names()]:
        raise UserError(f"either the task {task!r} or --env {env}, not both")


def value_in(argv: Sequence[str], option: str) -> str | None:
    """What the words of a command line say that `option` is, if they do."""
    for word, following in zip(argv, [*argv, None][1:], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return None


def flags(config: Any, usual: Any, prefix: str, without: Sequence[str] = ()) -> list[str]:
    """The words that make `config` out of `usual`, two dataclasses of plain values alike.

    Options are called `--PREFIX.NAME`; those of the names in `without` are left out.
    """
    words = []
    for entry in fields(config):
        value, name = getattr(config, entry.name), entry.name.replace("_", "-")
        if entry.name in without or value == getattr(usual, entry.name):
            continue
        if isinstance(value, bool):
            words.append(f"--{prefix}.{name if value else f'no-{name}'}")
        else:
            words.append(f"--{prefix}.{name}")
            words += map(str, value if isinstance(value, tuple) else (value,))
    return words


def file_name(name: str) -> str:
    """An environment's name as part of a file's."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def open_run(
    options: RunOptions,
    name: str,
    begins_with: str | None = None,
    along: str = "step",
    passing: Sequence[str] = (),
) -> RunDirectory:
    """The run's directory; `options` without those that do not decide what the run does.

    `passing` are more of those. `begins_with` tells apart what the run begins with: a prior
    published anew in the same place. `along` is the metric that TensorBoard draws the others over.
    """
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
    run = RunDirectory(path, _plain(kept), resume=options.resume)
    try:
        if make:
            run.metrics.follow(make(path))
    except BaseException:
        run.close()
        if new:  # A logger that cannot be had leaves no run behind.
            shutil.rmtree(path)
        raise
    return run


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value


def say(text: str) -> None:
    """A line about how it goes, on standard error: results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def show(result: dict[str, Any], lines: Sequence[str], as_json: bool) -> int:
    """What came out: some lines for a person, or one JSON object as the last line."""
    for line in lines:
        print(line)
    if as_json:
        print(json.dumps(result, allow_nan=False))
    return 0
