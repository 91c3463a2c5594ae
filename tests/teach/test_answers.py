"""Questions, leases, answers and how far they agree, on both databases."""

import time

import numpy as np
import pytest
from sqlalchemy import inspect, select, update

from metarlhf.errors import LabelError, Refused
from metarlhf.teach import Clip, Database, NewQuestion, answering, people, questions, tables
from metarlhf.teach.people import krippendorff_alpha


def clip(number, source="agent"):
    obs = np.full((10, 2), number, np.float32)
    return Clip({"obs": obs, "action": obs}, {"steps": 10}, source)


def url_of(database):
    return database.engine.url.render_as_string(hide_password=False)


def put(database, run, count=3, **options):
    """Ask about so many pairs; returns the questions' numbers."""
    new = [
        NewQuestion(clip(2 * i), clip(2 * i + 1), gain=float(i), **options) for i in range(count)
    ]
    with database.write() as connection:
        return questions.ask(connection, run, new)


def lease(database, run, who):
    with database.write() as connection:
        return answering.lease(connection, run, who)


def answer(database, run, who, question, choice, request="r"):
    with database.write() as connection:
        return answering.answer(connection, run, who, question, request, 1.5, choice=choice)


def standing(database, run, **options):
    with database.read() as connection:
        return questions.answers(connection, run, **options)


def another(database, run, name="ben"):
    with database.write() as connection:
        return people.local(connection, run, name).id


def test_opening_again_changes_nothing(database, run):
    again = Database(url_of(database))
    with again.read() as connection:
        assert questions.family_of(connection, run) == "navigation"
    again.close()


def test_labels_from_before_versions_were_stamped_are_read_and_stamped(database, run):
    """Alembic kept account of their tables, which are those of version 1."""
    with database.write() as connection:
        tables.schema.drop(connection)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    again = Database(url_of(database))
    with again.write() as connection:
        assert questions.family_of(connection, run) == "navigation"
        assert connection.execute(select(tables.schema.c.version)).scalar_one() == 1
        connection.exec_driver_sql("DROP TABLE alembic_version")
    again.close()


def test_labels_of_another_version_are_refused_and_left_as_they_are(database, run):
    later = tables.VERSION + 1
    with database.write() as connection:
        connection.execute(update(tables.schema).values(version=later))
        tables.taken.drop(connection)
    with pytest.raises(LabelError, match=f"are of version {later}, and this release reads 1"):
        Database(url_of(database))
    with database.read() as connection:
        assert not inspect(connection).has_table("taken")


def test_what_is_most_telling_is_asked_first_and_stays_with_who_has_it(database, run, someone):
    numbers = put(database, run)
    first = lease(database, run, someone)
    assert first.question.id == numbers[2]
    assert lease(database, run, someone).question.id == numbers[2]
    assert lease(database, run, another(database, run)).question.id == numbers[1]


def test_what_is_newest_is_asked_before_what_is_old(database, run, someone):
    put(database, run, round=0)
    newer = put(database, run, 1, round=1)
    assert lease(database, run, someone).question.id == newer[0]


def test_a_question_comes_back_when_nobody_answers(database, run, someone):
    (question,) = put(database, run, 1)
    assert lease(database, run, someone).question.id == question
    ben = another(database, run)
    assert lease(database, run, ben) is None
    with database.write() as connection:
        connection.execute(update(tables.leases).values(until=time.time() - 1))
    assert lease(database, run, ben).question.id == question
    answer(database, run, ben, question, "left")
    # Who comes late is told so.
    with pytest.raises(Refused, match="somebody else has answered it, or"):
        answer(database, run, someone, question, "left")


@pytest.mark.parametrize(
    ("choice", "shown", "swapped"),
    [("left", 0.0, 1.0), ("right", 1.0, 0.0), ("equal", 0.5, 0.5), ("skip", None, None)],
)
def test_an_answer_is_kept_in_the_loops_order_whatever_was_shown_where(
    database, run, someone, choice, shown, swapped
):
    for flag, expected in ((False, shown), (True, swapped)):
        (question,) = put(database, run, 1)
        with database.write() as connection:
            connection.execute(
                update(tables.questions)
                .where(tables.questions.c.id == question)
                .values(swapped=flag)
            )
        answer(database, run, someone, question, choice, f"r{question}")
        found = standing(database, run)[-1]
        assert (found.preference, found.skipped) == (expected, choice == "skip")
        assert (found.annotator, found.seconds) == ("ana", 1.5)


def test_which_clip_is_on_the_left_is_drawn_by_lot(database, run):
    put(database, run, 40)
    with database.read() as connection:
        swapped = [one.swapped for one in questions.questions(connection, run)]
    assert 5 < sum(swapped) < 35


def test_the_same_request_is_one_answer(database, run, someone):
    first, second = put(database, run, 2)
    kept = answer(database, run, someone, first, "left", "one")
    assert answer(database, run, someone, first, "left", "one") == kept
    assert len(standing(database, run)) == 1
    with pytest.raises(Refused, match=r"answered question .* already"):
        answer(database, run, someone, first, "right", "two")
    with pytest.raises(Refused, match="an answer to another question"):
        answer(database, run, someone, second, "left", "one")
    with pytest.raises(Refused, match="no question 999"):
        answer(database, run, someone, 999, "left", "three")


def test_what_is_taken_back_is_asked_again_and_stays_on_record(database, run, someone):
    first, second = put(database, run, 2)
    one = answer(database, run, someone, first, "left", "one")
    answer(database, run, someone, second, "left", "two")
    undo = lambda request: answering.undo(connection, run, someone, request)
    with database.write() as connection:
        assert [undo("a"), undo("b"), undo("b"), undo("c")] == [second, first, first, None]
    assert standing(database, run) == []
    assert lease(database, run, someone).question.id == first
    answer(database, run, someone, first, "right", "three")
    with database.read() as connection:
        table = tables.answers
        rows = connection.execute(select(table.c.id, table.c.undone_at).order_by("id")).all()
    assert len(rows) == 3
    assert rows[0].id == one
    assert rows[0].undone_at is not None
    assert [a.id for a in standing(database, run, numbers=[one])] == [one]


def test_nobody_takes_back_or_repeats_what_another_said(database, run, someone):
    (question,) = put(database, run, 1)
    answer(database, run, someone, question, "left")
    ben = another(database, run)
    with database.write() as connection:
        assert answering.undo(connection, run, ben, "a") is None
    assert len(standing(database, run)) == 1
    assert standing(database, run, annotator="ben") == []


def test_with_overlap_several_are_asked_and_their_agreement_is_told(database, run, someone):
    numbers = put(database, run, 2, overlap=2)
    ben, eva = another(database, run), another(database, run, "eva")
    for who, name in ((someone, "a"), (ben, "b")):
        for question in numbers:
            answer(database, run, who, question, "left", f"{name}{question}")
    assert lease(database, run, eva) is None
    with database.read() as connection:
        assert questions.open_questions(connection, run) == 0
        assert questions.agreement(questions.answers(connection, run)) == 1.0


def test_marks_are_of_their_scale(database, run, someone):
    with database.write() as connection:
        (question,) = questions.ask(connection, run, [NewQuestion(clip(0))])
    rate = lambda mark, request: answering.answer(
        connection, run, someone, question, request, 1.0, mark=mark
    )
    for mark in (0, 11, None):
        with database.write() as connection, pytest.raises(Refused, match="a mark from 1 to 10"):
            rate(mark, f"r{mark}")
    with database.write() as connection:
        rate(7, "ok")
    (found,) = standing(database, run)
    assert (found.mark, found.levels, found.preference) == (7, 10, None)


def test_stale_questions_go_but_none_that_somebody_has_or_has_answered(database, run, someone):
    _, second, third = put(database, run, 3)
    assert lease(database, run, someone).question.id == third
    answer(database, run, another(database, run), second, "left")
    with database.write() as connection:
        assert questions.withdraw(connection, run, 1) == 1
        assert questions.open_questions(connection, run) == 1
    assert lease(database, run, someone).question.id == third


def test_the_same_clip_is_kept_once(database, run):
    with database.write() as connection:
        one = questions.keep(connection, run, clip(1))
        assert questions.keep(connection, run, clip(1)) == one
        assert questions.keep(connection, run, clip(2)) != one
    with database.read() as connection:
        np.testing.assert_array_equal(
            questions.arrays(connection, [one])[one]["obs"], clip(1).arrays["obs"]
        )


def test_a_moment_can_be_called_bad_once(database, run, someone):
    (question,) = put(database, run, 1)
    shown = lease(database, run, someone).question
    with database.write() as connection:
        one = answering.correct(connection, run, someone, shown.left, 3, "c1")
        assert answering.correct(connection, run, someone, shown.left, 3, "c1") == one
        with pytest.raises(Refused, match="steps 0 to 9, not 10"):
            answering.correct(connection, run, someone, shown.left, 10, "c2")
        # What the agent does now is shown, and of another length: nothing is learned from it.
        now = questions.keep(connection, run, clip(7, "now"))
        with pytest.raises(Refused, match="no clip"):
            answering.correct(connection, run, someone, now, 3, "c3")
        (found,) = questions.corrections(connection, run)
    assert (found.clip, found.step, found.annotator) == (shown.left, 3, "ana")
    assert question == shown.id


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is no database"),
        ("mysql://a@b/c", "SQLite or PostgreSQL"),
        ("sqlite:////nowhere/at/all/labels.db", "unable to open"),
        ("postgresql://a:secret@127.0.0.1:1/x", r"postgresql://a:\*\*\*@127.0.0.1:1/x cannot be"),
    ],
)
def test_what_is_no_database_is_refused_without_its_password(url, message):
    with pytest.raises(LabelError, match=message) as refused:
        Database(url)
    assert "secret" not in str(refused.value)


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(database, run, someone):
    (question,) = put(database, run, 1)
    with database.read() as connection:
        assert questions.answers(connection, run) == []
        answer(database, run, someone, question, "left")
        assert questions.answers(connection, run) == []
    assert len(standing(database, run)) == 1


def test_writers_that_are_to_be_alone_wait_for_each_other(database, run):
    """So that none takes from under another what it has just looked at."""
    import threading

    order = []

    def second():
        with database.write(alone=True) as connection:
            order.append("second")
            questions.set_status(connection, run, {"by": "second"})

    with database.write(alone=True) as connection:
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
        questions.set_status(connection, run, {"by": "first"})
    thread.join(10)
    assert order == ["first", "second"]
    with database.read() as connection:
        assert questions.status(connection, run) == ({"by": "second"}, 2)


def test_krippendorffs_alpha_by_hand():
    """Two questions: 0 and 1, 1 and 1. Observed disagreement 2/4, expected 6/12."""
    assert krippendorff_alpha([{"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}]) == pytest.approx(0.0)
    # Three people: pairs of 0, 0, 1 differ in 4 of 6; values 0, 0, 1, 1, 1, 1 in 16 of 30.
    units = [{"a": 0.0, "b": 0.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}]
    assert krippendorff_alpha(units) == pytest.approx(1 - (4 / 2 / 6) / (16 / 30))


def test_agreement_is_one_chance_is_nothing_and_opposites_are_below():
    rng = np.random.default_rng(0)
    same = [{"a": float(v), "b": float(v)} for v in rng.integers(2, size=50)]
    chance = [{"a": float(a), "b": float(b)} for a, b in rng.integers(2, size=(20_000, 2))]
    opposite = [{"a": float(v), "b": 1.0 - v} for v in rng.integers(2, size=50)]
    assert krippendorff_alpha(same) == 1.0
    assert krippendorff_alpha(chance) == pytest.approx(0.0, abs=0.02)
    assert krippendorff_alpha(opposite) < -0.9


def test_what_one_person_alone_was_asked_counts_for_nothing():
    units = [{"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 1.0}]
    assert krippendorff_alpha([*units, {"a": 0.0}, {}]) == krippendorff_alpha(units)
    assert krippendorff_alpha([{"a": 1.0}]) is None
    assert krippendorff_alpha([{"a": 1.0, "b": 1.0}]) == 1.0
