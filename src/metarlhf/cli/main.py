"""Which command, its errors in one line, and exit codes: 0 done, 2 bad input, 130 stopped."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from metarlhf.cli.words import explain

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

NAME_A_TASK = ("demo", "ppo", "rlhf", "meta-train", "rl2", "teach")
STOPPED = 130

USAGE = """usage: metarlhf COMMAND [OPTIONS]

Teach an agent a new task in one minute of your time.

commands:
{commands}

`metarlhf COMMAND --help` lists what can be chosen; every command takes --json, and what trains
takes --seed, --run-dir and --resume. A task is the first word, or said by --task. Exit status: 0
done, 2 bad input, 130 stopped by Ctrl-C and saved."""


def run() -> NoReturn:
    """The command line as a process: its exit status is `main`'s.

    Stopped while XLA compiles, the process ends at once: an interpreter that shuts down under its
    threads is killed by a signal instead.
    """
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        from metarlhf.devices import in_the_foreground

        in_the_foreground()
    if sys.argv[1:2] == ["meta-train"]:
        # Before JAX computes anything, and where many tasks are learned at once alone.
        from metarlhf.devices import one_for_each_core

        one_for_each_core()
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


def task_first(words: Sequence[str]) -> list[str]:
    """`--task NAME` and `--family NAME` mean the first word, where a command takes a task."""
    first, rest = [], []
    each = iter(words)
    for word in each:
        option, equals, name = word.partition("=")
        named = option in ("--task", "--family")
        name = name if equals or not named else next(each, None)
        (first if named and name else rest).append(name if named and name else word)
    return first + rest


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
        return command.main(task_first(argv[1:]) if argv[0] in NAME_A_TASK else argv[1:])
    except KeyboardInterrupt:
        print("metarlhf: stopped; go on with the same command and --resume", file=sys.stderr)
        return STOPPED
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        status, text = message
        print(f"metarlhf: {text}", file=sys.stderr)
        return status
