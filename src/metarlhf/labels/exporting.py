"""Labels to files: without loss, or as pairs of chosen and rejected, as other tools read them.

A clip's arrays go as safetensors in base64, so that they come back bit for bit.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from metarlhf.files import write_bytes
from metarlhf.labels import reading
from metarlhf.labels.rows import BLOBS, FORMAT, VERSION, Row, pyarrow_modules, rows_of


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
    given = [a for a in reading.answers(connection, run) if a.preference in (0.0, 1.0)]
    numbers = [clip for answer in given for clip in answer.question.shown]
    arrays = reading.arrays(connection, numbers)
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
