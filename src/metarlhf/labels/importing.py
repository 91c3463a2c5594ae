"""Labels from files. All of it is checked before any of it is written; nothing in it can be run."""

import base64
import binascii
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select
from sqlalchemy import insert as insert_into
from sqlalchemy.exc import IntegrityError

from metarlhf.labels import tables
from metarlhf.labels.checks import check_row, check_together
from metarlhf.labels.database import number_of
from metarlhf.labels.errors import LabelError
from metarlhf.labels.rows import BLOBS, FORMAT, ORDER, VERSION, Row, pyarrow_modules

LONGEST = 256 * 2**20  # characters of a line


class Labels(NamedTuple):
    """All that was exported, checked: rows by table."""

    rows: dict[str, list[Row]]

    @property
    def run(self) -> str:
        """Which run it is of."""
        return self.rows["runs"][0]["id"]


def read(path: Path) -> Labels:
    """What `export_jsonl` or `export_parquet` wrote, all of it checked.

    Raises:
        LabelError: it is no such file, or anything in it is not as it should be; the message says
            where.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        found = list(_parquet_rows(path) if start == b"PAR1" else _json_rows(path))
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror}") from error
    rows: dict[str, list[Row]] = {table.name: [] for table in ORDER}
    for where, name, row in found:
        if not isinstance(name, str) or name not in rows:
            raise LabelError(f"{where}: there is no table {name!r}")
        rows[name].append(check_row(where, tables.metadata.tables[name], row))
    check_together(str(path), rows)
    return Labels(rows)


def write(connection: Connection, labels: Labels) -> str:
    """Put them into a store; returns the run's number. Rows get new numbers of their own.

    Raises:
        LabelError: the store holds that run already.
    """
    run = labels.run
    table = tables.runs
    if connection.execute(select(table.c.id).where(table.c.id == run)).first():
        raise LabelError(f"these labels hold the run {run} already: nothing was written")
    new: dict[str, dict[int, int]] = {t.name: {} for t in ORDER}
    try:
        for table in ORDER:
            for row in labels.rows[table.name]:
                _insert(connection, table, row, new)
    except IntegrityError as error:
        raise LabelError(f"these labels contradict one another: {error.orig}") from error
    return run


def _insert(connection: Connection, table: Table, row: Row, new: dict[str, dict[int, int]]) -> None:
    fresh = _renumbered(table, row, new)
    if table is tables.runs:
        fresh |= {"status": {}, "revision": 0}
    kept = connection.execute(insert_into(table).values(**fresh))
    if "id" in row and table is not tables.runs:
        new[table.name][row["id"]] = number_of(kept)


def _renumbered(table: Table, row: Row, new: dict[str, dict[int, int]]) -> Row:
    fresh = dict(row)
    if table is not tables.runs:
        fresh.pop("id", None)
    for column in table.c:
        for key in column.foreign_keys:
            target = key.column.table.name
            if target != "runs" and fresh.get(column.name) is not None:
                fresh[column.name] = new[target][fresh[column.name]]
    if table is tables.taken:
        fresh["answers"] = [new["answers"][n] for n in row["answers"]]
        fresh["corrections"] = [new["corrections"][n] for n in row["corrections"]]
    return fresh


def _json_rows(path: Path) -> Iterator[tuple[str, Any, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
            where = f"{path}, line {number}"
            try:
                content = json.loads(line, parse_constant=_no_number)
            except (ValueError, RecursionError) as error:
                raise LabelError(f"{where}: this is no JSON ({error})") from error
            if not isinstance(content, dict):
                raise LabelError(f"{where}: expected an object")
            if number == 1:
                _is_ours(where, content.get("format"), content.get("version"))
                continue
            name = content.pop("table", None)
            for blob in BLOBS:
                if isinstance(content.get(blob), str):
                    try:
                        content[blob] = base64.b64decode(content[blob], validate=True)
                    except (binascii.Error, ValueError) as error:
                        raise LabelError(f"{where}: {blob} is no base64 ({error})") from error
            yield where, name, content


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any, Row]]:
    arrow, parquet = pyarrow_modules()
    try:
        whole = parquet.read_table(path)
        about = whole.schema.metadata or {}
        columns = [whole[name].to_pylist() for name in ("table", "row", *BLOBS)]
    except (arrow.ArrowException, KeyError, OSError, ValueError) as error:
        raise LabelError(f"{path} is not a Parquet file of labels: {error}") from error
    version = about.get(b"version", b"").decode(errors="replace")
    _is_ours(str(path), about.get(b"format", b"").decode(errors="replace"), _number(version))
    for number, (name, text, *blobs) in enumerate(zip(*columns, strict=True), 1):
        where = f"{path}, row {number}"
        try:
            row = json.loads(text or "", parse_constant=_no_number)
        except (ValueError, TypeError, RecursionError) as error:
            raise LabelError(f"{where}: this is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise LabelError(f"{where}: expected an object")
        of_clip: Row = dict(zip(BLOBS, blobs, strict=True))
        yield where, name, row | (of_clip if name == "clips" else {})


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _is_ours(where: str, kind: Any, version: Any) -> None:
    if kind != FORMAT:
        raise LabelError(
            f"{where}: these are no labels that `metarlhf export` wrote as jsonl or parquet (what "
            "it writes as chosen-rejected is for other tools, and does not come back)"
        )
    if version != VERSION:
        raise LabelError(f"{where}: this is version {version}, and this program reads {VERSION}")
