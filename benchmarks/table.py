"""Write the README's table from `benchmarks/results`: `python -m benchmarks.table [--check]`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import harness
from metarlhf import files

README = harness.ROOT / "README.md"
BEGIN = "<!-- results:begin -->"
END = "<!-- results:end -->"
HEADER = (
    "| row | figure | measured, 95 % interval | must | aim | met |\n"
    "| --- | --- | --- | --- | --- | --- |"
)
NOTHING = "No results yet: `make bench` measures them."


def _number(value: float) -> str:
    """Three significant digits, thousands grouped, and no exponent."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _measured(figure: dict[str, Any]) -> str:
    text = ("≥ " if figure["at_least"] else "") + _number(figure["value"])
    if figure["low"] is not None and figure["high"] is not None:
        text += f" [{_number(figure['low'])}, {_number(figure['high'])}]"
    return f"{text} {figure['unit']}".rstrip()


def _target(figure: dict[str, Any], name: str) -> str:
    if figure[name] is None:
        return ""
    sign = "≥" if figure["better"] == "higher" else "≤"
    return f"{sign} {_number(figure[name])} {figure['unit']}".rstrip()


def _met(figure: dict[str, Any]) -> str:
    if figure["met_aim"]:
        return "aim"
    if figure["met_must"] is None:
        return "" if figure["met_aim"] is None else "no"
    return "must" if figure["met_must"] else "no"


def describe(figure: dict[str, Any]) -> str:
    """A figure of a results file in one line, for people."""
    targets = [
        f"{name} {_target(figure, name)}" for name in ("must", "aim") if _target(figure, name)
    ]
    met = f"; met: {_met(figure)}" if targets else ""
    return f"{figure['name']}: {_measured(figure)}" + (
        f" ({', '.join(targets)}{met})" if targets else ""
    )


def table(folder: Path = harness.RESULTS) -> str:
    """The table of all results in `folder`, in the fixed order of the rows.

    Raises:
        ValueError: a file is not a result.
    """
    lines = []
    for row in harness.in_order(path.stem for path in folder.glob("*.json")):
        path = folder / f"{row}.json"
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
            for figure in figures:
                cells = [
                    f"[{row}](benchmarks/results/{row}.json)",
                    figure["name"],
                    _measured(figure),
                    _target(figure, "must"),
                    _target(figure, "aim"),
                    _met(figure),
                ]
                lines.append("| " + " | ".join(cells) + " |")
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path.name} in {folder.name} is not a result ({error!r}). Measure it anew: "
                f"make bench ONLY={row}"
            ) from error
    return "\n".join([HEADER, *lines]) if lines else NOTHING


def renewed(text: str, content: str) -> str:
    """`text` with `content` between the marks.

    Raises:
        ValueError: the marks are not there once each, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(
            f"README.md needs the marks {BEGIN} and {END}, once each and in this order."
        )
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    """Renew the table, or with --check say whether it is stale; exit status 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if it is stale"
    )
    args = parser.parse_args(argv)
    try:
        text = README.read_text(encoding="utf-8")
        new = renewed(text, table())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if new == text:
        return 0
    if args.check:
        print(
            "The README's table is not what benchmarks/results says: run make table.",
            file=sys.stderr,
        )
        return 1
    files.write_text(README, new)
    print("README.md: table renewed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
