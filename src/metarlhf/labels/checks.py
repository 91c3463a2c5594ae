"""What labels from outside must be: each row by itself, and all of them together."""

import json
from typing import Any

from sqlalchemy import Boolean, Float, Integer, LargeBinary, String, Table

from metarlhf.labels.blobs import digest, unpack, unpack_replay
from metarlhf.labels.errors import LabelError
from metarlhf.labels.rows import ORDER, Row, public

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
