"""What is told of an evaluation, in lines for a person."""

from pathlib import Path

import pytest

from metarlhf.report.summary import lines


def told(low, mean=0.3, seconds=1.0, **more):
    interval = {"mean": mean, "low": low, "high": 0.5}
    family = {
        "family": "reacher", "labels": 10, "feedback": "comparisons", "num_tasks": 8,
        "normalised_return": interval, "gain": interval, "seconds": seconds,
        "scratch_labels_ratio": None, "scratch_steps_ratio": None, **more,
    }  # fmt: skip
    return "\n".join(lines({"families": [family]}, Path("run"))).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(("low", "said"), [(-0.1, True), (0.0, True), (0.1, False)])
def test_it_says_when_nothing_adapts(low, said):
    assert ("Nothing adapts: that is +30 %" in told(low)) == said
    assert "taught 30 % " in told(low)


def test_small_numbers_are_no_negative_zeros():
    said = told(-0.004, mean=-0.001, seconds=0.0312)
    assert "taught 0 % (0 to 50 %)" in said
    assert "in 31 ms a task" in said


def test_it_says_when_the_oracle_hardly_learns():
    poor = {"untrained_return": -1144.0, "oracle_return": -947.0, "untrained_spread": 250.0}
    assert "oracle hardly learns" in told(0.1, oracle_hardly_learns=True, **poor)
    assert "oracle hardly learns" not in told(0.1, oracle_hardly_learns=False, **poor)
