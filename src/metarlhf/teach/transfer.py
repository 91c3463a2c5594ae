"""What labels from outside must be: each row by itself, and all of them together.

Labels to files: without loss, or as pairs of chosen and rejected, as other tools read them.

A clip's arrays go as safetensors in base64, so that they come back bit for bit.

Labels from files. All of it is checked before any of it is written; nothing in it can be run.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Connection, Float, Integer, LargeBinary, String, Table, select
from sqlalchemy import insert as insert_into
from sqlalchemy.exc import IntegrityError

from metarlhf.errors import LabelError
from metarlhf.files import write_bytes
from metarlhf.teach import questions, tables
from metarlhf.teach.database import number_of
from metarlhf.teach.records import (
    BLOBS,
    FORMAT,
    ORDER,
    VERSION,
    Row,
    digest,
    public,
    pyarrow_modules,
    rows_of,
    unpack,
    unpack_replay,
)

Rows = dict[str, list[Row]]

# Whether there is a preference, a mark, and whether it was skipped, of an answer to each kind.
SAID = {
    "comparison": {(True, False, False), (False, False, True)},
    "rating": {(False, True, False), (False, False, True)},
}


def check_row(where: str, table: Table, row: Row) -> Row:
    """The row, with exactly the columns that it should have, each of its type.

    Raises:
        LabelError: it is otherwise.
    """
    expected = public(table)
    if row.keys() != expected.keys():
        odd = sorted(row.keys() ^ expected.keys())
        raise LabelError(
            f"{where}: {table.name} has {', '.join(map(str, odd))} too much or missing"
        )
    for name, value in row.items():
        column = expected[name]
        if value is None:
            if not column.nullable:
                raise LabelError(f"{where}: {table.name}.{name} is missing")
        elif not _fits(column, value):
            raise LabelError(f"{where}: {table.name}.{name} is not of its type")
    return row


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
        short = isinstance(value, str) and len(value) <= (kind.length or 0)
        return short and "\0" not in value and _is_text(value)
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return "\\u0000" not in text and "\\ud" not in text  # which PostgreSQL's JSON does not take


def _is_text(value: str) -> bool:
    """Whether it can be written at all: half of a pair of characters cannot."""
    return all(not 0xD800 <= ord(character) <= 0xDFFF for character in value)


def check_together(where: str, rows: Rows) -> None:
    """What is referred to is there, clips hold what they should, answers fit their questions.

    Raises:
        LabelError: it is otherwise.
    """
    if len(rows["runs"]) != 1:
        raise LabelError(f"{where} holds {len(rows['runs'])} runs, expected one")
    numbers = {name: _numbers(where, name, kept) for name, kept in rows.items() if name != "taken"}
    for table in ORDER[1:]:
        for row in rows[table.name]:
            _check_references(where, table, row, numbers)
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
            if not isinstance(row[name], list) or not set(map(_key, row[name])) <= numbers[name]:
                raise LabelError(
                    f"{where}: taken {row['iteration']} names {name} that are not there"
                )


def _numbers(where: str, name: str, kept: list[Row]) -> set:
    numbers = [row["id"] for row in kept]
    if len(set(numbers)) < len(numbers):
        raise LabelError(f"{where}: {name} has a number twice")
    return set(numbers)


def _check_references(where: str, table: Table, row: Row, numbers: dict[str, set]) -> None:
    for column in table.c:
        for key in column.foreign_keys:
            value, target = row[column.name], key.column.table.name
            if value is not None and value not in numbers[target]:
                raise LabelError(
                    f"{where}: {table.name}.{column.name} {value} is not among its {target}"
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
        said = (row["preference"] is not None, row["mark"] is not None, row["skipped"])
        good = said in SAID[kinds[row["question_id"]]]
        good = good and row["preference"] in (None, 0, 0.5, 1)
        good = good and (row["mark"] is None or 1 <= row["mark"] <= (row["levels"] or 0))
        if not good:
            raise LabelError(f"{where}: answer {row['id']} does not fit its question")
        key = row["question_id"], row["annotator_id"]
        if row["undone_at"] is None and key in standing:
            raise LabelError(f"{where}: question {key[0]} has two answers of one person")
        standing |= {key} if row["undone_at"] is None else set()


def _key(value: Any) -> Any:
    """A number as it is, and anything else as what is nowhere."""
    return value if isinstance(value, int) and not isinstance(value, bool) else object()


def export_jsonl(connection: Connection, run: str, path: Path) -> int:
    """One JSON object a line; returns how many. The first says what the file is."""
    lines = [json.dumps({"format": FORMAT, "version": VERSION})]
    for name, row in rows_of(connection, run):
        lines.append(json.dumps({"table": name, **_as_text(row)}, allow_nan=False))
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return len(lines) - 1


def export_parquet(connection: Connection, run: str, path: Path) -> int:
    """One Parquet file: the table's name, the row as JSON, and its bytes beside it."""
    arrow, parquet = pyarrow_modules()
    names, plain, bytes_of = [], [], {blob: [] for blob in BLOBS}
    for name, row in rows_of(connection, run):
        for blob, column in bytes_of.items():
            column.append(row.pop(blob, None))
        names.append(name)
        plain.append(json.dumps(row, allow_nan=False))
    content = {
        "table": arrow.array(names, arrow.string()),
        "row": arrow.array(plain, arrow.string()),
    } | {blob: arrow.array(column, arrow.binary()) for blob, column in bytes_of.items()}
    about = {b"format": FORMAT.encode(), b"version": str(VERSION).encode()}
    whole = arrow.table(content).replace_schema_metadata(about)
    sink = arrow.BufferOutputStream()
    parquet.write_table(whole, sink)
    write_bytes(path, sink.getvalue().to_pybytes())
    return len(names)


def export_pairs(connection: Connection, run: str, path: Path) -> int:
    """Each comparison with a better clip as {"chosen": ..., "rejected": ...}, a line each.

    Both are lists of numbers by name. "Equal", "can't tell" and marks have no better clip and are
    left out; this is for other tools, and does not come back.
    """
    given = [a for a in questions.answers(connection, run) if a.preference in (0.0, 1.0)]
    numbers = [clip for answer in given for clip in answer.question.shown]
    arrays = questions.arrays(connection, numbers)
    lines = []
    for answer in given:
        question = answer.question
        first, second = question.clips
        chosen, rejected = (second, first) if answer.preference == 1.0 else (first, second)
        plain = lambda clip: {n: a.tolist() for n, a in arrays[clip].items() if n != "task_reward"}
        pair = {"chosen": plain(chosen), "rejected": plain(rejected)}
        about = {"annotator": answer.annotator, "question": question.id, "seconds": answer.seconds}
        lines.append(json.dumps(pair | about, allow_nan=False))
    write_bytes(path, "".join(line + "\n" for line in lines).encode())
    return len(lines)


FORMATS: dict[str, tuple[str, Callable[[Connection, str, Path], int]]] = {
    "jsonl": (".jsonl", export_jsonl),
    "parquet": (".parquet", export_parquet),
    "chosen-rejected": (".pairs.jsonl", export_pairs),
}


def _as_text(row: Row) -> Row:
    text = lambda value: base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return {name: text(value) for name, value in row.items()}


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
