"""Which command, its errors in one line, and exit codes: 0 done, 2 bad input, 130 stopped."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from metarlhf.errors import (
    Interrupted,
    LabelError,
    PublishedFileError,
    SimulatorError,
    UnknownTaskError,
    UserError,
    WrongFamilyError,
)

COMMANDS = {
    "demo": "meta-train, teach tasks never seen with ten answers each, and write a report",
    "tasks": "list the task families: what varies, horizon, spaces",
    "ppo": "train on one task with its own reward",
    "rlhf": "train on one task from a teacher's answers, from scratch",
    "meta-train": "learn a family of tasks, and publish a prior for new ones",
    "rl2": "the baseline of meta-RL: a policy that learns a task by remembering it",
    "search": "meta-train how PPO learns: an optimiser, or a drift",
    "adapt": "teach one new task from a prior, with a handful of answers",
    "evaluate": "measure a prior on held-out tasks, beside learning from scratch",
    "teach": "teach an agent what you like, on a page in your browser",
    "annotators": "who may answer in a lesson: list, invite, revoke",
    "export": "write a lesson's labels to files",
    "import": "read labels that `export` wrote into a lesson's store",
    "play": "play episodes with the agent of a run, and draw one",
    "explain": "what the reward that a run has learned pays for, where, and why",
}

STOPPED = 130

USAGE = """usage: metarlhf COMMAND [OPTIONS]

Teach an agent a new task in one minute of your time.

commands:
{commands}

`metarlhf COMMAND --help` lists the options that people change, --help-all all of them; --config
FILE takes them from a file. Every command takes --json, and what trains takes --seed, --run-dir and
--resume. Exit status: 0 done, 2 bad input, 130 stopped by Ctrl-C and saved."""


def run() -> NoReturn:
    """The command line as a process: its exit status is `main`'s.

    Stopped while XLA compiles, the process ends at once: an interpreter that shuts down under its
    threads is killed by a signal instead.
    """
    if sys.argv[1:2] == ["meta-train"]:
        # By the environment, as JAX is not imported before options are read; and where many tasks
        # are learned at once alone (see `devices.one_for_each_core`).
        allowed = getattr(os, "sched_getaffinity", None)  # Linux alone says which.
        cores = len(allowed(0)) if allowed else os.cpu_count()
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores))
    if sys.argv[1:2] == ["explain"]:
        # Nearly all of its time is compiling what runs once: less polish takes a fifth off it.
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # Who read it, `head` say, has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    if status != STOPPED:
        sys.exit(status)
    sys.stderr.flush()
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    usage = USAGE.format(commands="\n".join(f"  {n:<12}{t}" for n, t in COMMANDS.items()))
    if not argv or argv[0] in ("-h", "--help"):
        print(usage, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("metarlhf"))
        return 0
    if argv[0] not in COMMANDS:
        print(f"metarlhf: there is no command {argv[0]!r}.\n\n{usage}", file=sys.stderr)
        return 2
    # Each command is imported when it is asked for: `tasks` need not wait for JAX to compile.
    try:
        command = importlib.import_module(f"metarlhf.cli.{argv[0].replace('-', '_')}")
        return command.main(argv[1:])
    except KeyboardInterrupt:
        print("metarlhf: stopped; go on with the same command and --resume", file=sys.stderr)
        return STOPPED
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        status, text = message
        print(f"metarlhf: {text}", file=sys.stderr)
        return status


def _message(error: Exception) -> tuple[int, str] | None:
    """Exit status and message; None for what only a programmer can mend."""
    if isinstance(error, Interrupted):
        return 130, str(error)
    mendable = (
        UserError, UnknownTaskError, SimulatorError, PublishedFileError, WrongFamilyError,
        LabelError,
    )  # fmt: skip
    if isinstance(error, mendable):
        return 2, str(error)
    # Orbax and Safetensors wrap what the system said in errors of their own.
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or "No space left on device" in str(error) or "File too large" in str(error):
        return 2, (
            f"the disk is full ({error}): what was written before is whole. Make room, then go on "
            "with the same command and --resume"
        )
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
        return 2, f"{error.filename or error}: {error.strerror}; name another --run-dir"
    return None
