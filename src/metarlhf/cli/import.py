"""`metarlhf import`: labels from a file that `metarlhf export` wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metarlhf.cli.extras import must_have_page
from metarlhf.cli.options import DATABASE, Url
from metarlhf.cli.parsing import parse
from metarlhf.cli.runs import show
from metarlhf.errors import UserError
from metarlhf.teach import directory


@dataclass(frozen=True)
class Import:
    """Read labels into a store; all of the file is checked before anything is written."""

    file: Annotated[Path, tyro.conf.Positional] = Path("labels.jsonl")
    """What `metarlhf export` wrote as jsonl or parquet."""
    run: Annotated[Path | None, tyro.conf.arg(aliases=["-r"])] = None
    """Directory that they are for, a new one; `metarlhf teach --replay` takes it."""
    database: Url = None
    """Where they are kept, if not in that directory."""
    json: bool = False
    """Print one JSON object as the last line."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    must_have_page()
    if not argv:
        raise UserError("which file? metarlhf import FILE, which `metarlhf export` wrote")
    options = parse(Import, argv, "import", lambda said: Import(), DATABASE)
    from metarlhf.teach import Database, transfer  # late: it imports NumPy

    folder = options.run or Path("runs") / f"import-{options.file.stem}"
    if directory.run_of(folder) is not None:
        raise UserError(f"{folder} holds a lesson already: name another --run")
    found = transfer.read(options.file)
    database = Database(options.database) if options.database else Database.beside(folder)
    try:
        with database.write() as connection:
            number = transfer.write(connection, found)
    finally:
        database.close()
    directory.write(folder, number, options.database)
    count = len(found.rows["answers"])
    result = {"command": "import", "answers": count, "run": number, "folder": str(folder)}
    return show(result, [f"{count} answers in {folder}"], options.json)
