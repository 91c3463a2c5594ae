"""The README shows what `benchmarks/results` holds."""

import pytest

from benchmarks import harness, table
from benchmarks.harness import Result


def test_the_readme_is_up_to_date(capsys):
    assert table.main(["--check"]) == 0, capsys.readouterr().err


def test_rows_come_in_their_order_with_what_was_asked_of_them(tmp_path):
    adapt = Result("adapt-time", "wall clock", 4.0, unit="s", must=30, aim=5, better="lower")
    ratio = Result("labels-ratio", "reacher", 12.0, must=5, aim=20, at_least=True)
    shot = Result("few-shot-10", "reacher", 0.7, low=0.65, high=0.75, must=0.75, aim=0.9)
    for result in (adapt, ratio, shot):
        harness.save(result.row, result, command="c", seconds=1.0, folder=tmp_path)
    lines = table.table(tmp_path).splitlines()[2:]
    link = "| [{0}](benchmarks/results/{0}.json) | ".format
    assert lines == [
        link("few-shot-10") + "reacher | 0.70 [0.65, 0.75] | ≥ 0.75 | ≥ 0.90 | no |",
        link("labels-ratio") + "reacher | ≥ 12.0 | ≥ 5.00 | ≥ 20.0 | must |",
        link("adapt-time") + "wall clock | 4.00 s | ≤ 30.0 s | ≤ 5.00 s | aim |",
    ]


def test_without_results_the_table_says_so(tmp_path):
    assert table.table(tmp_path) == table.NOTHING


def test_a_broken_result_is_named(tmp_path):
    (tmp_path / "finn2017.json").write_text("{")
    with pytest.raises(ValueError, match=r"finn2017\.json .* is not a result"):
        table.table(tmp_path)


def test_only_what_is_between_the_marks_changes():
    text = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    new = table.renewed(text, "new")
    assert new == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"
    assert table.renewed(new, "new") == new


def test_missing_marks_are_asked_for():
    with pytest.raises(ValueError, match="needs the marks"):
        table.renewed("no marks", "new")
