"""Held-out tasks taught with ten comparisons each: share of what the true reward teaches."""

from benchmarks.few_shot import few_shot

ROW = "few-shot-10"
TARGETS = {"navigation": (0.80, 0.90), "reacher": (0.75, 0.90), "pendulum": (0.75, 0.90)}


def measure(options):
    """One figure for each family."""
    return few_shot(ROW, "ten", TARGETS, options)
