"""Labels to files and back, without loss; or as pairs of chosen and rejected, for other tools.

All of a file is checked before any of it is written to a store, and nothing in it can be run: a
clip's arrays are safetensors (in JSON as base64), so that they come back bit for bit.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Connection,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from metarlhf.errors import LabelError
from metarlhf.files import write_bytes
from metarlhf.teach import questions, tables
from metarlhf.teach.database import number_of
from metarlhf.teach.records import digest, unpack, unpack_replay

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
# Columns of bytes, all of clips.
_BLOBS = ("arrays", "replay", "film")
# What would let somebody in, or is true for a moment only.
_SECRET = {"annotators": {"token_hash"}, "runs": {"status", "revision"}}
_LONGEST = 256 * 2**20  # characters of a line
# Whether there is a preference, a mark, and whether it was skipped, of an answer to each kind.
_ANSWERS = {
    "comparison": {(True, False, False), (False, False, True)},
    "rating": {(False, True, False), (False, False, True)},
}

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def rows_of(connection: Connection, run: str) -> Iterator[tuple[str, Row]]:
    """Every row of a run that goes to files, with the name of its table; bytes as they are."""
    for table in ORDER:
        key = table.c.id if table is tables.runs else table.c.run_id
        query = select(*_public(table).values()).where(key == run)
        for row in connection.execute(query.order_by(*table.primary_key.columns)):
            yield table.name, dict(row._mapping)


def _public(table: Table) -> dict[str, Any]:
    """The columns that go to files, by name."""
    secret = _SECRET.get(table.name, set())
    return {column.name: column for column in table.c if column.name not in secret}


def _export_jsonl(connection: Connection, run: str, path: Path) -> int:
    """One JSON object a line. The first says what the file is."""
    lines = [json.dumps({"format": FORMAT, "version": VERSION})]
    for name, row in rows_of(connection, run):
        text = {
            column: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for column, value in row.items()
        }
        lines.append(json.dumps({"table": name, **text}, allow_nan=False))
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return len(lines) - 1


def _export_parquet(connection: Connection, run: str, path: Path) -> int:
    """One Parquet file: the table's name, the row as JSON, and columns of bytes."""
    arrow, parquet = _pyarrow()
    columns: dict[str, list] = {name: [] for name in ("table", "row", *_BLOBS)}
    for name, row in rows_of(connection, run):
        for blob in _BLOBS:
            columns[blob].append(row.pop(blob, None))
        columns["table"].append(name)
        columns["row"].append(json.dumps(row, allow_nan=False))
    kind = lambda name: arrow.binary() if name in _BLOBS else arrow.string()
    whole = arrow.table({name: arrow.array(c, kind(name)) for name, c in columns.items()})
    about = {b"format": FORMAT.encode(), b"version": str(VERSION).encode()}
    sink = arrow.BufferOutputStream()
    parquet.write_table(whole.replace_schema_metadata(about), sink)
    write_bytes(path, sink.getvalue().to_pybytes())
    return len(columns["table"])


def _export_pairs(connection: Connection, run: str, path: Path) -> int:
    """Each comparison with a better clip as {"chosen": ..., "rejected": ...}, a line each.

    Both are lists of numbers by name. "Equal", "can't tell" and marks have no better clip and are
    left out; this is for other tools, and does not come back.
    """
    given = [a for a in questions.answers(connection, run) if a.preference in (0.0, 1.0)]
    arrays = questions.arrays(connection, [c for a in given for c in a.question.shown])
    plain = lambda clip: {n: a.tolist() for n, a in arrays[clip].items() if n != "task_reward"}
    lines = []
    for answer in given:
        first, second = answer.question.clips
        chosen, rejected = (second, first) if answer.preference == 1.0 else (first, second)
        pair = {
            "chosen": plain(chosen),
            "rejected": plain(rejected),
            "annotator": answer.annotator,
            "question": answer.question.id,
            "seconds": answer.seconds,
        }
        lines.append(json.dumps(pair, allow_nan=False) + "\n")
    write_bytes(path, "".join(lines).encode())
    return len(lines)


FORMATS: dict[str, tuple[str, Callable[[Connection, str, Path], int]]] = {
    "jsonl": (".jsonl", _export_jsonl),
    "parquet": (".parquet", _export_parquet),
    "chosen-rejected": (".pairs.jsonl", _export_pairs),
}
"""By name: a file's suffix, and what writes a run's labels to it and returns how many rows."""


class Labels(NamedTuple):
    """All that was exported, checked: rows by table."""

    rows: Rows

    @property
    def run(self) -> str:
        """Which run it is of."""
        return self.rows["runs"][0]["id"]


def read(path: Path) -> Labels:
    """What was exported as jsonl or parquet, all of it checked.

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
    rows: Rows = {table.name: [] for table in ORDER}
    for where, name, row in found:
        if not isinstance(name, str) or name not in rows:
            raise LabelError(f"{where}: there is no table {name!r}")
        _check_row(where, tables.metadata.tables[name], row)
        rows[name].append(row)
    _check_together(str(path), rows)
    return Labels(rows)


def write(connection: Connection, labels: Labels) -> str:
    """Put labels into a store, where rows get new numbers of their own.

    Returns:
        The run's number, which it keeps.

    Raises:
        LabelError: the store holds that run already, or labels contradict one another.
    """
    run = labels.run
    if connection.execute(select(tables.runs.c.id).where(tables.runs.c.id == run)).first():
        raise LabelError(f"these labels hold the run {run} already: nothing was written")
    new: dict[str, dict[int, int]] = {table.name: {} for table in ORDER}
    try:
        for table in ORDER:
            for row in labels.rows[table.name]:
                kept = connection.execute(insert(table).values(**_renumbered(table, row, new)))
                if "id" in row and table is not tables.runs:
                    new[table.name][row["id"]] = number_of(kept)
    except IntegrityError as error:
        raise LabelError(f"these labels contradict one another: {error.orig}") from error
    return run


def _renumbered(table: Table, row: Row, new: dict[str, dict[int, int]]) -> Row:
    """The row as it is inserted, by the new numbers of what it refers to."""
    if table is tables.runs:
        return row | {"status": {}, "revision": 0}
    fresh = {name: value for name, value in row.items() if name != "id"}
    for name, target in _references(table):
        if target != "runs" and fresh.get(name) is not None:
            fresh[name] = new[target][fresh[name]]
    if table is tables.taken:
        for name in ("answers", "corrections"):
            fresh[name] = [new[name][number] for number in row[name]]
    return fresh


def _references(table: Table) -> Iterator[tuple[str, str]]:
    """Columns that refer to another table, and which."""
    for column in table.c:
        for key in column.foreign_keys:
            yield column.name, key.column.table.name


def _json_rows(path: Path) -> Iterator[tuple[str, Any, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
            where = f"{path}, line {number}"
            content = _object(where, line)
            if number == 1:
                _check_format(where, content.get("format"), content.get("version"))
                continue
            name = content.pop("table", None)
            for blob in _BLOBS:
                if isinstance(content.get(blob), str):
                    try:
                        content[blob] = base64.b64decode(content[blob], validate=True)
                    except (binascii.Error, ValueError) as error:
                        raise LabelError(f"{where}: {blob} is no base64 ({error})") from error
            yield where, name, content


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any, Row]]:
    arrow, parquet = _pyarrow()
    try:
        whole = parquet.read_table(path)
        about = whole.schema.metadata or {}
        columns = [whole[name].to_pylist() for name in ("table", "row", *_BLOBS)]
    except (arrow.ArrowException, KeyError, OSError, ValueError) as error:
        raise LabelError(f"{path} is not a Parquet file of labels: {error}") from error
    kind, version = (
        about.get(name, b"").decode(errors="replace") for name in (b"format", b"version")
    )
    _check_format(str(path), kind, int(version) if version.isdigit() else None)
    for number, (name, text, *blobs) in enumerate(zip(*columns, strict=True), 1):
        where = f"{path}, row {number}"
        of_clip: Row = dict(zip(_BLOBS, blobs, strict=True)) if name == "clips" else {}
        yield where, name, _object(where, text or "") | of_clip


def _object(where: str, text: str | bytes) -> Row:
    """The JSON object that this is."""
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, TypeError, RecursionError) as error:
        raise LabelError(f"{where}: this is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise LabelError(f"{where}: expected an object")
    return content


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _check_format(where: str, kind: Any, version: Any) -> None:
    if kind != FORMAT:
        raise LabelError(
            f"{where}: these are no labels that `metarlhf export` wrote as jsonl or parquet (what "
            "it writes as chosen-rejected is for other tools, and does not come back)"
        )
    if version != VERSION:
        raise LabelError(f"{where}: this is version {version}, and this program reads {VERSION}")


def _check_row(where: str, table: Table, row: Row) -> None:
    """It has exactly the columns that it should have, each of its type."""
    expected = _public(table)
    if row.keys() != expected.keys():
        odd = ", ".join(map(str, sorted(row.keys() ^ expected.keys())))
        raise LabelError(f"{where}: {table.name} has {odd} too much or missing")
    for name, value in row.items():
        column = expected[name]
        if value is None and not column.nullable:
            raise LabelError(f"{where}: {table.name}.{name} is missing")
        if value is not None and not _fits(column, value):
            raise LabelError(f"{where}: {table.name}.{name} is not of its type")


def _fits(column: Any, value: Any) -> bool:
    kind = column.type
    if isinstance(kind, Boolean):
        return isinstance(value, bool)
    if isinstance(kind, Integer) or (column.foreign_keys and not isinstance(kind, String)):
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    if isinstance(kind, Float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) < 1e300  # also of whole numbers beyond what a float holds
    if isinstance(kind, LargeBinary):
        return isinstance(value, bytes)
    if isinstance(kind, String):
        if not isinstance(value, str) or len(value) > (kind.length or 0) or "\0" in value:
            return False
        # Half of a pair of characters cannot be written.
        return all(not 0xD800 <= ord(character) <= 0xDFFF for character in value)
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return "\\u0000" not in text and "\\ud" not in text  # which PostgreSQL's JSON does not take


def _check_together(where: str, rows: Rows) -> None:
    """What is referred to is there, clips hold what they should, answers fit their questions."""
    if len(rows["runs"]) != 1:
        raise LabelError(f"{where} holds {len(rows['runs'])} runs, expected one")
    numbers = {}
    for name, kept in rows.items():
        numbers[name] = {row["id"] for row in kept if "id" in row}
        if name != "taken" and len(numbers[name]) < len(kept):
            raise LabelError(f"{where}: {name} has a number twice")
    for table in ORDER[1:]:
        for name, target in _references(table):
            for row in rows[table.name]:
                if row[name] is not None and row[name] not in numbers[target]:
                    raise LabelError(
                        f"{where}: {table.name}.{name} {row[name]} is not among its {target}"
                    )
    steps = _check_clips(where, rows["clips"])
    _check_answers(where, rows)
    shown = {row["id"] for row in rows["clips"] if row["source"] == "now"}
    asked = {row[side] for row in rows["questions"] for side in ("left_id", "right_id")}
    if shown & (asked | {row["clip_id"] for row in rows["corrections"]}):
        raise LabelError(f"{where}: something is about a clip that nobody was asked about")
    for row in rows["corrections"]:
        if not 0 <= row["step"] < steps[row["clip_id"]]:
            raise LabelError(f"{where}: correction {row['id']} is of a step that its clip has not")
    for row in rows["taken"]:
        for name in ("answers", "corrections"):
            if not isinstance(row[name], list) or not all(
                type(number) is int and number in numbers[name] for number in row[name]
            ):
                raise LabelError(
                    f"{where}: taken {row['iteration']} names {name} that are not there"
                )


def _check_clips(where: str, clips: list[Row]) -> dict[int, int]:
    """How many steps each has."""
    steps, shapes = {}, set()
    for row in clips:
        arrays = unpack(row["arrays"])
        if digest(row["arrays"]) != row["digest"]:
            raise LabelError(f"{where}: clip {row['id']} is not what its digest says")
        steps[row["id"]] = len(arrays["obs"])
        if row["replay"] is not None:
            unpack_replay(row["replay"])
        if row["source"] != "now":  # which is shown, and not learned from
            shapes.add((arrays["obs"].shape[1:], arrays["action"].shape[1:]))
    if len(shapes) > 1:
        raise LabelError(f"{where}: its clips are of different shapes: {sorted(shapes)}")
    return steps


def _check_answers(where: str, rows: Rows) -> None:
    kinds = {row["id"]: row["kind"] for row in rows["questions"]}
    for row in rows["questions"]:
        if (row["kind"], row["right_id"] is None) not in {("comparison", False), ("rating", True)}:
            raise LabelError(f"{where}: question {row['id']} is no comparison and no rating")
    standing = set()
    for row in rows["answers"]:
        given = (row["preference"] is not None, row["mark"] is not None, row["skipped"])
        good = given in _ANSWERS[kinds[row["question_id"]]]
        good = good and row["preference"] in (None, 0, 0.5, 1)
        good = good and (row["mark"] is None or 1 <= row["mark"] <= (row["levels"] or 0))
        if not good:
            raise LabelError(f"{where}: answer {row['id']} does not fit its question")
        key = row["question_id"], row["annotator_id"]
        if row["undone_at"] is None and key in standing:
            raise LabelError(f"{where}: question {key[0]} has two answers of one person")
        standing |= {key} if row["undone_at"] is None else set()


def _pyarrow() -> tuple[Any, Any]:
    """PyArrow and its Parquet."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise LabelError("Parquet needs pyarrow: pip install 'metarlhf[parquet]'") from error
    return pyarrow, parquet
