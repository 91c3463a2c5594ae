"""A run's rows as they go to files and come back: everything but what lets people in."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Table, select

from metarlhf.labels import tables
from metarlhf.labels.errors import LabelError

FORMAT, VERSION = "metarlhf-labels", 1
# In the order in which what is referred to comes first.
ORDER: tuple[Table, ...] = (
    tables.runs,
    tables.annotators,
    tables.clips,
    tables.questions,
    tables.answers,
    tables.corrections,
    tables.taken,
)
BLOBS = ("arrays", "replay", "film")
"""Columns of bytes, all of clips."""
# What would let somebody in, or is true for a moment only.
SECRET = {"annotators": {"token_hash"}, "runs": {"status", "revision"}}

Row = dict[str, Any]


def rows_of(connection: Connection, run: str) -> Iterator[tuple[str, Row]]:
    """Every row of a run, with the name of its table; bytes as they are."""
    for table in ORDER:
        key = table.c.id if table is tables.runs else table.c.run_id
        order = table.primary_key.columns
        columns = public(table).values()
        for row in connection.execute(select(*columns).where(key == run).order_by(*order)):
            yield table.name, dict(row._mapping)


def public(table: Table) -> dict[str, Any]:
    """The columns that go to files, by name."""
    secret = SECRET.get(table.name, set())
    return {column.name: column for column in table.c if column.name not in secret}


def pyarrow_modules() -> tuple[Any, Any]:
    """PyArrow and its Parquet.

    Raises:
        LabelError: it is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LabelError("Parquet needs pyarrow: pip install 'metarlhf[parquet]'") from error
    return pyarrow, parquet
