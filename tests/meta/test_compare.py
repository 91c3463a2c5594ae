"""How much more learning from scratch needs, worked out by hand."""

import numpy as np
import pytest

from metarlhf.experiments.evaluation import Curve
from metarlhf.experiments.study import cheapest, first_reach, needed, saving

USED = np.array([0.0, 100.0, 300.0])


def curve(*points, steps=USED, labels=None):
    """Returns of one task, or of several as rows of points."""
    returns = np.array(points, float)
    returns = returns[:, None] if returns.ndim == 1 else returns
    return Curve(np.array(labels if labels is not None else steps / 10), steps, returns)


@pytest.mark.parametrize(
    ("reached", "target", "used"),
    [
        ([0.0, 0.5, 1.0], 0.75, 200.0),  # half of the way from 100 to 300
        ([0.0, 0.5, 1.0], 0.5, 100.0),  # exactly at a point
        ([0.0, 0.5, 1.0], 1.0, 300.0),
        ([0.0, 0.5, 1.0], 1.01, None),
        ([0.3, 0.1, 1.0], 0.2, 0.0),  # before anything was used
        ([0.0, 0.8, 0.2], 0.4, 50.0),  # the first time counts, whatever comes after
        ([0.0, 0.8, 1.0], -1.0, 0.0),
    ],
)
def test_a_target_is_reached_where_the_line_between_two_points_crosses_it(reached, target, used):
    found = first_reach(USED, np.array(reached), target)
    assert found == (None if used is None else pytest.approx(used))


def test_practice_after_the_last_answer_costs_no_answer():
    labels = np.array([0.0, 10.0, 10.0])
    assert first_reach(labels, np.array([0.0, 0.5, 1.0]), 0.9) == 10.0


def test_needed_is_the_least_of_several_ways_and_says_when_it_may_take_more():
    slow, fast = curve(0.0, 0.4, 0.8), curve(0.0, 0.8, 0.8)
    assert needed([slow, fast], "steps", 0.6) == (pytest.approx(75.0), False)
    assert needed([slow, fast], "labels", 0.6) == (pytest.approx(7.5), False)
    assert needed([slow], "steps", 0.6) == (pytest.approx(200.0), False)
    longer = curve(0.0, 0.1, 0.2, steps=np.array([0.0, 100.0, 500.0]))
    # Neither gets there, and the shorter one might have with the next step.
    assert needed([slow, longer], "steps", 0.9) == (300.0, True)
    # What gets there counts, however much another one spent in vain; what ended before does, too.
    assert needed([slow, longer], "steps", 0.8) == (pytest.approx(300.0), False)
    short = curve(0.0, 0.1, 0.2, steps=np.array([0.0, 10.0, 20.0]))
    assert needed([slow, short], "steps", 0.8) == (20.0, True)


def test_needed_reads_the_mean_over_tasks():
    two = curve([0.0, 0.0], [1.0, 0.0], [1.0, 1.0])
    assert needed([two], "steps", 0.75) == (pytest.approx(200.0), False)


def test_the_cheapest_way_gets_there_with_least_or_ends_best():
    early, late, never = curve(0.0, 0.6, 0.6), curve(0.0, 0.5, 1.0), curve(0.0, 0.0, 0.4)
    assert cheapest([never, late, early], "steps", 0.5) is early
    assert cheapest([never, late, early], "steps", 0.9) is late
    assert cheapest([early, never], "steps", 0.9) is early


def test_the_ratio_is_of_what_both_used_for_the_same():
    taught = curve(0.0, 0.5, steps=np.array([0.0, 20.0]), labels=[0, 10])
    found = saving([curve(0.0, 0.5, 1.0)], "steps", [taught], least=1.0)
    assert found == (5.0, 5.0, 5.0, False)  # of one task there is nothing to draw


def test_a_prior_that_takes_no_step_is_charged_the_least_and_the_ratio_is_at_least():
    taught = curve(0.0, 0.5, steps=np.array([0.0, 0.0]), labels=[0, 10])
    found = saving([curve(0.0, 0.5, 1.0)], "steps", [taught], least=50.0)
    assert found == (2.0, 2.0, 2.0, True)
    # Its answers it did use.
    assert saving([curve(0.0, 0.5, 1.0)], "labels", [taught], 1.0) == (1.0, 1.0, 1.0, False)


def test_never_reached_is_at_least_all_that_was_tried():
    taught = curve(0.0, 2.0, steps=np.array([0.0, 20.0]), labels=[0, 10])
    found = saving([curve(0.0, 0.5, 1.0)], "steps", [taught], least=1.0)
    assert found == (15.0, 15.0, 15.0, True)


def test_the_interval_draws_tasks_together_for_both():
    """Tasks differ a lot, but each of them saves the same: the ratio is sure."""
    size = np.array([1.0, 2.0, 4.0, 8.0])
    scratch = curve(0.0 * size, 0.5 * size, 1.0 * size)
    taught = curve(0.0 * size, 0.75 * size, steps=np.array([0.0, 20.0]), labels=[0, 10])
    ratio, low, high, _ = saving([scratch], "steps", [taught], least=1.0)
    np.testing.assert_allclose([low, ratio, high], 10.0, rtol=1e-6)


def test_tasks_that_differ_in_what_they_save_give_an_interval_around_the_ratio():
    scratch = curve([0.0, 0.0, 0.0], [1.0, 0.5, 0.0], [1.0, 1.0, 1.0])
    taught = curve([0.0] * 3, [0.6] * 3, steps=np.array([0.0, 10.0]), labels=[0, 10])
    found = saving([scratch], "steps", [taught], least=1.0)
    # The mean passes 0.6 a fifth of the way from 100 to 300; tasks alone need 60 to 220.
    assert found.ratio == pytest.approx(14.0)
    assert 6.0 <= found.low < 10.0 < 18.0 < found.high <= 22.0
    assert saving([scratch], "steps", [taught], least=1.0) == found


def test_seeds_that_differ_widen_the_interval():
    scratch = curve([0.0, 0.0], [1.0, 1.0], [2.0, 2.0])
    seeds = [
        curve([0.0] * 2, [end] * 2, steps=np.array([0.0, 10.0]), labels=[0, 10])
        for end in (0.5, 1.0)
    ]
    found = saving([scratch], "steps", seeds, least=1.0)
    assert found.ratio == pytest.approx(7.5)
    assert (found.low, found.high) == (pytest.approx(5.0), pytest.approx(10.0))
