"""Intervals, against what is known of them."""

import numpy as np
import pytest

from metarlhf.statistics import interquartile_mean, mean_interval


def test_the_middle_half_is_averaged():
    found = interquartile_mean([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0])
    assert found.mean == np.mean([2, 3, 4, 5])
    assert found.low <= found.mean <= found.high


def test_a_failed_run_moves_it_less_than_a_mean():
    good = np.full(9, 10.0) + np.linspace(-0.1, 0.1, 9)
    failed = np.append(good, -1000.0)
    assert abs(interquartile_mean(failed).mean - 10.0) < 0.1
    assert mean_interval(failed).mean < -80


def test_runs_are_drawn_for_each_task_by_itself():
    """Tasks of different difficulty, runs all alike: there is nothing to be unsure of."""
    alike = np.tile([0.0, 1.0, 2.0, 3.0], (5, 1))
    found = interquartile_mean(alike)
    assert found.low == found.mean == found.high == 1.5


def test_the_interval_holds_the_true_value_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    holds = 0
    for trial in range(200):
        found = interquartile_mean(rng.normal(size=(20, 1)), resamples=500, seed=trial)
        holds += found.low <= 0.0 <= found.high
    assert 0.85 < holds / 200 <= 1.0


@pytest.mark.parametrize("function", [interquartile_mean, mean_interval])
def test_what_cannot_be_averaged_is_refused(function):
    with pytest.raises(ValueError, match=r"got shape \(0,\)"):
        function([])
    with pytest.raises(ValueError, match="1 numbers that are not finite"):
        function([1.0, np.nan])
