"""Comparisons that RLHF from scratch needs for what the prior does with ten, over ten."""

from benchmarks.saving import savings

ROW = "labels-ratio"


def measure(options):
    """One figure for each family."""
    return savings(ROW, "labels", options, must=5, aim=20)
