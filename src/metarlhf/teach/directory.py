"""The directory of a lesson: which run of a label store it is, and where that store is."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from metarlhf import files
from metarlhf.errors import UserError

if TYPE_CHECKING:
    from metarlhf.teach.database import Database

# The environment names the store to processes: a URL may hold a password, which nobody else is to
# see among their arguments.
LABELS = "METARLHF_LABELS"
FILE = "lesson.json"


def write(folder: Path, run: str, url: str | None = None) -> None:
    """Write down which run the lesson is.

    Args:
        folder: the lesson's directory.
        run: its number among the labels.
        url: where they are, if not in the directory; written without a password.
    """
    written = {"run": run}
    if url is not None:
        from metarlhf.teach.database import without_password

        written["labels"] = without_password(url)
    files.write_json(folder / FILE, written)


def begin(folder: Path, database: "Database", url: str, family: str, about: dict[str, str]) -> str:
    """The run among the labels that is the lesson in a directory: a new one, or that of before.

    Args:
        folder: the lesson's directory.
        database: its labels.
        url: where they are.
        family: what the agent acts in.
        about: all that decides what the lesson is but what people answer.

    Returns:
        The run's number.

    Raises:
        LabelError: the labels do not hold the run that was begun before.
    """
    from metarlhf.teach import questions

    run = run_of(folder)
    if run is not None:
        database.query(questions.family_of, run)
        return run
    with database.write() as connection:
        run = questions.new_run(connection, family, about)
    write(folder, run, url)
    return run


def run_of(folder: Path) -> str | None:
    """The lesson's number among the labels; None: nothing was begun there."""
    return _read(folder, "run")


def url_of(folder: Path, named: str | None) -> str:
    """The URL of a lesson's labels: as `named`, or as written down, or in the directory."""
    return named or _read(folder, "labels") or f"sqlite:///{folder / 'labels.db'}"


@contextmanager
def open_labels(folder: Path, named: str | None) -> Iterator[tuple["Database", str]]:
    """A lesson's labels, opened, and its number among them.

    Args:
        folder: the lesson's directory.
        named: URL of the labels, where it is not the one written down.

    Raises:
        UserError: there is no lesson.
        LabelError: the labels cannot be opened, or do not hold it.
    """
    from metarlhf.teach.database import Database
    from metarlhf.teach.questions import family_of

    run = run_of(folder)
    if run is None:
        raise UserError(f"{folder} is no lesson: name the directory of a run of `metarlhf teach`")
    database = Database(url_of(folder, named))
    try:
        with database.read() as connection:
            family_of(connection, run)
        yield database, run
    finally:
        database.close()


def _read(folder: Path, name: str) -> str | None:
    try:
        return json.loads((folder / FILE).read_bytes()).get(name)
    except (OSError, ValueError, AttributeError):
        return None
