"""Labels to files and back, and files that are not what they should be."""

import base64
import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from metarlhf.errors import LabelError
from metarlhf.teach import (
    Clip,
    Database,
    NewQuestion,
    answering,
    people,
    questions,
    tables,
    transfer,
)
from metarlhf.teach.transfer import ORDER, rows_of


def clip(number):
    rng = np.random.default_rng(number)
    obs, action = rng.normal(size=(5, 2)), rng.integers(3, size=5)
    return Clip({"obs": obs.astype(np.float32), "action": action.astype(np.int32)}, {"steps": 5})


@pytest.fixture
def lesson(database, run):
    """A run with something in each table; returns its number."""
    with database.write() as connection:
        ana, ben = (people.local(connection, run, name).id for name in ("ana", "ben"))
        people.invite(connection, run, "eva")
        pairs = [NewQuestion(clip(2 * i), clip(2 * i + 1), 0.3, 0.1, 2) for i in range(3)]
        numbers = questions.ask(connection, run, [*pairs, NewQuestion(clip(9))])
        say = lambda who, number, **what: answering.answer(
            connection, run, who, number, f"r{number}", 1.25, **what
        )
        for number, choice in zip(numbers[:3], ("left", "right", "skip"), strict=True):
            say(ana, number, choice=choice)
            say(ben, number, choice="left")
        answering.undo(connection, run, ben, "u")
        say(ana, numbers[3], mark=7)
        kept = questions.keep(connection, run, clip(0))
        answering.correct(connection, run, ana, kept, 4, "c")
        questions.record_taken(connection, run, 3, [1, 2], [1])
    return run


def everything(database, run):
    with database.read() as connection:
        return list(rows_of(connection, run))


def exported(database, run, path, kind="jsonl"):
    with database.read() as connection:
        transfer.FORMATS[kind][1](connection, run, path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_round_trip_loses_nothing(database, lesson, tmp_path, kind):
    path = exported(database, lesson, tmp_path / "labels", kind)
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    with other.write() as connection:
        # Others are there already, so that every number is another one.
        strange = questions.new_run(connection, "x", {})
        people.local(connection, strange, "z")
        questions.keep(connection, strange, clip(50))
        assert transfer.write(connection, transfer.read(path)) == lesson
    again = exported(other, lesson, tmp_path / "again", kind)
    third = Database(f"sqlite:///{tmp_path / 'third.db'}")
    with third.write() as connection:
        transfer.write(connection, transfer.read(again))
    assert everything(third, lesson) == renumbered(everything(database, lesson))
    names = {name for name, _ in everything(third, lesson)}
    assert names == {table.name for table in ORDER}
    for opened in (other, third):
        opened.close()


def renumbered(rows):
    """Each table's numbers from 1 on, as an empty store gives them."""
    new, out = {}, []
    for name, row in rows:
        row = dict(row)
        for column in tables.metadata.tables[name].c:
            for key in column.foreign_keys:
                target = key.column.table.name
                if target != "runs" and row[column.name] is not None:
                    row[column.name] = new[target, row[column.name]]
        if name == "taken":
            for kind in ("answers", "corrections"):
                row[kind] = [new[kind, number] for number in row[kind]]
        elif name != "runs":
            count = sum(key[0] == name for key in new)
            new[name, row["id"]] = count + 1
            row["id"] = count + 1
        out.append((name, row))
    return out


def test_tokens_and_their_hashes_stay_at_home(database, lesson, tmp_path):
    with database.write() as connection:
        token = people.invite(connection, lesson, "eva")
    text = exported(database, lesson, tmp_path / "labels").read_text()
    assert "eva" in text
    assert token not in text
    assert people.hashed(token) not in text


def test_pairs_have_the_better_clip_first_whatever_was_shown_where(database, lesson, tmp_path):
    path = exported(database, lesson, tmp_path / "pairs", "chosen-rejected")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    # Ana's left and right, Ben's two lefts that stand; neither what was skipped nor the mark.
    assert len(lines) == 4
    with database.read() as connection:
        table = tables.answers
        row = connection.execute(
            select(table.c.preference).order_by(table.c.id).limit(1)
        ).scalar_one()
    expected = clip(1 if row == 1.0 else 0).arrays["obs"]
    np.testing.assert_allclose(lines[0]["chosen"]["obs"], expected)
    with pytest.raises(LabelError, match="does not come back"):
        transfer.read(path)


def edited(path, table, change, number=0):
    """The file with one row of a table changed."""
    lines = path.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    which = [i for i, row in enumerate(rows) if row.get("table") == table][number]
    change(rows[which])
    lines[which] = json.dumps(rows[which])
    path.write_text("\n".join(lines))


def put(**values):
    return lambda row: row.update(values)


BAD_CLIP = base64.b64encode(b"no safetensors").decode()


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("answers", put(question_id=999), "is not among its questions"),
        ("answers", put(preference=0.7), "does not fit its question"),
        ("answers", put(preference=None), "does not fit its question"),
        ("answers", put(seconds="long"), "seconds is not of its type"),
        ("answers", put(seconds=10**400), "seconds is not of its type"),
        ("answers", put(request="\ud800"), "request is not of its type"),
        ("clips", put(scene={"a": "\0"}), "scene is not of its type"),
        ("answers", put(more=1), "more too much or missing"),
        ("answers", lambda row: row.pop("request"), "request too much or missing"),
        ("answers", put(run_id="0" * 32), "is not among its runs"),
        ("questions", put(right_id=None), "no comparison and no rating"),
        ("questions", put(kind="x" * 50), "kind is not of its type"),
        ("questions", put(id=True), "id is not of its type"),
        ("clips", put(arrays="%%%"), "no base64"),
        ("clips", put(arrays=BAD_CLIP), "not in the safetensors format"),
        ("clips", put(digest="0" * 64), "not what its digest says"),
        ("corrections", put(step=5), "a step that its clip has not"),
        ("taken", put(answers=[999]), "names answers that are not there"),
        ("taken", put(answers={"a": 1}), "names answers that are not there"),
        ("annotators", put(name="a\0b"), "name is not of its type"),
        ("annotators", put(table="sessions"), "no table 'sessions'"),
        ("runs", put(table="runs", family=None), "family is missing"),
    ],
)
def test_what_is_not_as_it_should_be_is_named_and_nothing_is_written(
    database, lesson, tmp_path, table, change, message
):
    path = exported(database, lesson, tmp_path / "labels")
    edited(path, table, change)
    with pytest.raises(LabelError, match=message):
        transfer.read(path)


def test_the_same_run_is_not_written_twice(database, lesson, tmp_path):
    found = transfer.read(exported(database, lesson, tmp_path / "labels"))
    before = everything(database, lesson)
    with pytest.raises(LabelError, match="already: nothing was written"), database.write() as c:
        transfer.write(c, found)
    assert everything(database, lesson) == before


def test_what_contradicts_itself_leaves_nothing_behind(database, lesson, tmp_path):
    path = exported(database, lesson, tmp_path / "labels")
    edited(path, "annotators", put(name="ben"))
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(LabelError, match="contradict one another"), other.write() as connection:
        transfer.write(connection, transfer.read(path))
    with other.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.runs)).scalar() == 0
    other.close()


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"{}", b"PAR1 and more", b'{"a":' * 9_999]
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(LabelError):
        transfer.read(tmp_path / "labels")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, 10**6), new=st.binary(max_size=4), gone=st.integers(0, 40))
def test_a_file_that_was_damaged_anywhere_gives_labels_or_one_error(fuzzed, place, new, gone):
    """Never another exception: whoever reads it is told in one sentence."""
    whole, path = fuzzed
    at = place % len(whole)
    path.write_bytes(whole[:at] + new + whole[at + gone :])
    other = Database(f"sqlite:///{path}.db")
    with contextlib.suppress(LabelError), other.write() as connection:
        transfer.write(connection, transfer.read(path))
    other.close()


@pytest.fixture
def fuzzed(database, lesson, tmp_path):
    path = exported(database, lesson, tmp_path / "labels")
    return path.read_bytes(), path
