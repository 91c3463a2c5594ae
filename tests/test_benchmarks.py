"""The benchmarks' own arithmetic: intervals, targets, and files that are whole or untouched."""

import json

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import harness
from benchmarks.harness import Result
from metarlhf.statistics import mean_interval


def test_interval_of_equal_values_is_a_point():
    assert mean_interval(np.full((5, 40), 0.5)) == (0.5, 0.5, 0.5)


def test_interval_of_a_single_column_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(size=400)
    mean, low, high = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.01)


def test_interval_sees_that_results_of_a_seed_resemble_each_other():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(10, 1)) + 0.01 * rng.normal(size=(10, 50))
    low, high = mean_interval(values)[1:]
    # 500 independent results would give a width near 0.18, 10 seeds give one near 1.2.
    assert 0.7 < high - low < 1.7


def test_interval_sees_that_a_shared_task_is_hard_for_every_seed():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(1, 40)) + 0.01 * rng.normal(size=(10, 40))
    nested = mean_interval(values)
    shared = mean_interval(values, shared_tasks=True)
    assert shared.high - shared.low > 2 * (nested.high - nested.low)


def test_interval_is_the_same_twice():
    values = np.random.default_rng(3).normal(size=(5, 8))
    assert mean_interval(values) == mean_interval(values)


@pytest.mark.parametrize("values", [[], [[[1.0]]], [1.0, np.nan]])
def test_interval_refuses_what_has_none(values):
    with pytest.raises(ValueError, match="mean_interval got"):
        mean_interval(values)


def test_targets_are_met_in_the_better_direction():
    slow = Result("adapt-time", "wall clock", 12.0, unit="s", must=30, aim=5, better="lower")
    assert (slow.met(slow.must), slow.met(slow.aim), slow.met(None)) == (True, False, None)


@pytest.mark.parametrize("numbers", [{"value": np.inf}, {"value": 1.0, "low": 2.0, "high": 0.0}])
def test_a_figure_has_sensible_numbers(numbers):
    with pytest.raises(ValueError, match="navigation"):
        Result("few-shot-10", "navigation", **numbers)


def test_a_saved_row_says_all_that_it_takes_to_repeat_it(tmp_path):
    figures = [
        Result(
            "few-shot-10",
            name,
            0.9,
            low=0.8,
            high=0.95,
            must=0.8,
            seeds=(0, 1),
            details={"n": np.arange(2)},
        )
        for name in ("navigation", "reacher")
    ]
    path = harness.save("few-shot-10", figures, command="c", seconds=1.0, folder=tmp_path)
    content = json.loads(path.read_text())
    assert path.name == "few-shot-10.json"
    assert [figure["name"] for figure in content["figures"]] == ["navigation", "reacher"]
    assert content["figures"][0]["met_must"] is True
    assert content["figures"][0]["met_aim"] is None
    assert content["figures"][0]["details"] == {"n": [0, 1]}
    assert content["seeds"] == [0, 1]
    assert {"row", "command", "versions", "cores", "cpu", "seconds", "date"} <= set(content)


def test_a_result_that_cannot_be_written_leaves_the_last_one(tmp_path):
    path = tmp_path / "row.json"
    harness.write_json(path, {"row": 1})
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        harness.write_json(path, {"row": object()})
    assert json.loads(path.read_text()) == {"row": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_gives_figures_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="expected one figure or more"):
        harness.save("a", Result("b", "x", 1.0), command="c", seconds=1.0, folder=tmp_path)


def test_an_unknown_row_is_refused_with_the_rows_there_are(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["no-such-row"])
    assert stopped.value.code == 2
    assert "no row no-such-row; the rows are:" in capsys.readouterr().err
