"""Run benchmarks: `python -m benchmarks [ROW ...]`."""

import argparse
import importlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks import harness
from benchmarks.table import describe


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help="which to measure; all if none is named"
    )
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="measure little, to see that a row works; writes to runs/benchmarks, not to publish",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="seeds, instead of the row's own number"
    )
    parser.add_argument("--tasks", type=int, metavar="N", help="held-out tasks, likewise")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where <row>.json goes")
    return parser


def _measure(row: str, options: harness.Options, folder: Path, command: str) -> None:
    """Measure one row in this process, keep its figures and print them."""
    module = importlib.import_module(f"benchmarks.rows.{row.replace('-', '_')}")
    if row != module.ROW:
        raise ValueError(f"{module.__name__}.ROW is {module.ROW!r}, expected {row!r} by its file.")
    print(f"{row}: measuring", flush=True)
    watch = harness.Stopwatch()
    results = module.measure(options)
    if not isinstance(results, harness.Result):
        results = list(results)  # a row that yields is measured here, not while it is written
    path = harness.save(row, results, command=command, seconds=watch.seconds, folder=folder)
    content = json.loads(path.read_text(encoding="utf-8"))
    for figure in content["figures"]:
        print(f"{row}: {describe(figure)}")
    print(f"{row}: {watch.seconds:.0f} s, written to {path}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Measure the rows named; exit status 0, 1 if one failed, 2 for a command not understood."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser()
    args = parser.parse_args(argv)
    known = harness.row_names()
    if args.list:
        print("\n".join(known))
        return 0
    unknown = [row for row in args.rows if row not in known]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; the rows are: {', '.join(known) or 'none yet'}")
    if any(number is not None and number < 1 for number in (args.seeds, args.tasks)):
        parser.error("--seeds and --tasks take a number of 1 or more")
    rows = args.rows or known
    if not rows:
        print("There is no row in benchmarks/rows yet: nothing measured.")
        return 0
    options = harness.Options(quick=args.quick, seeds=args.seeds, tasks=args.tasks)
    folder = args.out or (harness.ROOT / "runs" / "benchmarks" if args.quick else harness.RESULTS)
    if len(rows) == 1:
        _measure(
            rows[0], options, folder, command=shlex.join(["python", "-m", "benchmarks", *argv])
        )
        return 0
    # Each in a process of its own, so that none profits from what another has compiled, and a row
    # that fails takes no other with it.
    flags = [arg for arg in argv if arg not in args.rows]
    failed = []
    for row in rows:
        command = [sys.executable, "-m", "benchmarks", row, *flags]
        if subprocess.run(command, cwd=harness.ROOT).returncode != 0:
            failed.append(row)
    if failed:
        print(f"Failed: {', '.join(failed)}; what they said is above.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped. The rows finished before are kept.")
