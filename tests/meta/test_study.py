"""The figures of a family from its curves, worked out by hand."""

import json

import numpy as np
import pytest

from metarlhf import envs
from metarlhf.experiments.evaluation import Curve
from metarlhf.experiments.references import References
from metarlhf.experiments.study import compare_with_scratch, summarise
from metarlhf.rlhf import RLHFConfig

FAMILY = envs.make("navigation")
TEN = RLHFConfig(labels=10, rounds=2, ask_envs=0)
# From -50 to -10 in one task, from -30 to -10 in the other.
SCALE = References(np.array([-50.0, -30.0]), np.array([-10.0, -10.0]))


def curve(labels, steps, returns):
    return Curve(np.array(labels, float), np.array(steps, float), np.array(returns, float))


def taught(first, second):
    """Returns that are `first` and `second` of the way in the two tasks, after ten answers."""
    end = [-50 + 40 * first, -30 + 20 * second]
    return curve([0, 5, 10], [0, 0, 0], [[-50, -30], [-30, -20], end])


# Answers 0, 40 and 80, and then practice.
SCRATCH = curve(
    [0, 40, 80, 80], [0, 1000, 2000, 6000], [[-50, -30], [-40, -25], [-30, -20], [-10, -10]]
)


def summary(curves, scratch=(), seconds=1.5):
    return summarise(FAMILY, TEN, SCALE, curves, scratch, seconds)


def test_returns_are_shares_of_the_way_from_untrained_to_oracle():
    found = summary([taught(0.9, 0.7)])
    assert found["normalised_return"]["mean"] == pytest.approx(0.8)
    assert found["per_task"] == pytest.approx([0.9, 0.7])
    assert found["gain"]["mean"] == pytest.approx(0.8)
    assert found["untrained_return"] == pytest.approx(-40)
    assert found["oracle_return"] == pytest.approx(-10)
    assert found["by_labels"]["labels"] == [0, 5, 10]
    assert found["by_labels"]["mean"] == pytest.approx([0.0, 0.5, 0.8])
    described = {name: found[name] for name in ("family", "varies", "labels", "feedback")}
    assert described == {
        "family": "navigation/finn2017",
        "varies": "goal position (2 numbers)",
        "labels": 10,
        "feedback": "comparisons",
    }
    assert (found["num_tasks"], found["seconds"], found["steps"]) == (2, 1.5, 0)
    json.dumps(found, allow_nan=False)


def test_seeds_are_averaged_task_by_task_and_widen_the_interval():
    same, apart = (summary([taught(x, x), taught(y, y)]) for x, y in [(0.8, 0.8), (0.6, 1.0)])
    for found in (same, apart):
        assert found["normalised_return"]["mean"] == pytest.approx(0.8)
        assert found["per_task"] == pytest.approx([0.8, 0.8])
        assert found["by_labels"]["mean"][-1] == pytest.approx(0.8)
    width = lambda found: found["normalised_return"]["high"] - found["normalised_return"]["low"]
    assert width(same) == pytest.approx(0)
    assert width(apart) == pytest.approx(0.4)


def test_without_learning_from_scratch_there_are_no_ratios():
    found = summary([taught(0.9, 0.7)])
    assert found["scratch_labels_ratio"] is None
    assert found["scratch_steps_ratio"] is None
    assert "scratch_by_labels" not in found


def test_ratios_are_of_answers_and_of_steps_an_episode_being_the_least_of_these():
    found = summary([taught(0.5, 0.5)], [SCRATCH])
    assert found["scratch_labels_ratio"] == pytest.approx(8.0)  # 80 answers to 10
    assert found["scratch_labels_ratio_interval"] == pytest.approx([8.0, 8.0])
    assert found["scratch_labels_at_least"] is False
    assert found["scratch_steps_ratio"] == pytest.approx(2000 / FAMILY.horizon)
    assert found["scratch_steps_at_least"] is True  # the prior took none
    # Practice after the last answer: with 80 answers that is where it ended.
    assert found["scratch_by_labels"]["labels"] == [0, 40, 80]
    assert found["scratch_by_labels"]["mean"] == pytest.approx([0.0, 0.25, 1.0])
    assert found["scratch_by_steps"]["mean"] == pytest.approx([0.0, 0.25, 0.5, 1.0])


def test_from_scratch_is_compared_on_the_tasks_that_it_learned():
    """It learned the first task alone, in which the prior reaches 0.5."""
    alone = SCRATCH._replace(returns=SCRATCH.returns[:, :1])
    prior = taught(0.5, 0.9).normalise(SCALE)
    found = compare_with_scratch([prior], [alone], SCALE, FAMILY.horizon)
    assert found["scratch_labels_ratio"] == pytest.approx(8.0)


def test_each_resource_is_compared_with_the_schedule_that_spares_it():
    few_answers = curve([0, 20], [0, 50_000], [[-50, -30], [-10, -10]])
    few_steps = curve([0, 800], [0, 1000], [[-50, -30], [-10, -10]])
    found = summary([taught(1.0, 1.0)], [few_answers, few_steps])
    assert found["scratch_labels_ratio"] == pytest.approx(2.0)
    assert found["scratch_by_labels"]["labels"] == [0, 20]
    assert found["scratch_steps_ratio"] == pytest.approx(10.0)
    assert found["scratch_by_steps"]["steps"] == [0, 1000]
