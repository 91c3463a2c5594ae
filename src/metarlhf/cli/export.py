"""`metarlhf export`: a lesson's labels to a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from metarlhf.cli.extras import must_have_page
from metarlhf.cli.options import DATABASE, Url
from metarlhf.cli.parsing import parse
from metarlhf.cli.runs import show
from metarlhf.errors import UserError
from metarlhf.teach.directory import open_labels


@dataclass(frozen=True)
class Export:
    """Write what was asked and said in a lesson: all of it, or as pairs for other tools."""

    run: Annotated[Path, tyro.conf.Positional] = Path("run")
    """Directory of a run of `metarlhf teach`."""
    format: Literal["jsonl", "parquet", "chosen-rejected"] = "jsonl"
    """jsonl and parquet lose nothing; chosen-rejected is a line for each comparison."""
    to: Path | None = None
    """File to write; beside the labels unless named."""
    database: Url = None
    """Where its labels are, if not in its directory."""
    json: bool = False
    """Print one JSON object as the last line."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    must_have_page()
    if not argv:
        raise UserError("which lesson? metarlhf export RUN, the directory of a lesson")
    options = parse(Export, argv, "export", lambda said: Export(), DATABASE)
    from metarlhf.teach.transfer import FORMATS  # late: it imports NumPy

    suffix, write = FORMATS[options.format]
    path = options.to or options.run / f"labels{suffix}"
    with (
        open_labels(options.run, options.database) as (database, run),
        database.read() as connection,
    ):
        count = write(connection, run, path)
    result = {"command": "export", "format": options.format, "file": str(path), "rows": count}
    return show(result, [f"{count} rows in {path}"], options.json)
