"""Environment steps that RLHF from scratch needs for what the prior does with ten comparisons."""

from benchmarks.saving import savings

ROW = "steps-ratio"


def measure(options):
    """One figure for each family."""
    return savings(ROW, "steps", options, must=10, aim=50)
