"""Held-out tasks taught with twenty comparisons each: share of what the true reward teaches."""

from benchmarks.few_shot import few_shot

ROW = "few-shot-20"
TARGETS = {"navigation": (0.90, 0.95), "reacher": (0.85, 0.95), "pendulum": (0.85, 0.95)}


def measure(options):
    """One figure for each family."""
    return few_shot(ROW, "twenty", TARGETS, options)
