"""What is told of an evaluation, in lines for a person."""

from pathlib import Path

import pytest

from metarlhf.cli.summary import lines


def told(low):
    interval = {"mean": 0.3, "low": low, "high": 0.5}
    family = {
        "family": "reacher", "labels": 10, "feedback": "comparisons", "num_tasks": 8,
        "normalised_return": interval, "gain": interval, "seconds": 1.0,
        "scratch_labels_ratio": None, "scratch_steps_ratio": None,
    }  # fmt: skip
    return "\n".join(lines({"families": [family]}, Path("run")))


@pytest.mark.parametrize(("low", "said"), [(-0.1, True), (0.0, True), (0.1, False)])
def test_it_says_when_nothing_adapts(low, said):
    assert ("nothing adapts: that is +30%" in told(low)) == said
    assert "taught 30% of what the true reward does" in told(low)
