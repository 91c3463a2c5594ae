"""Held-out tasks taught with ten marks from 1 to 10 each: share of what true rewards teach."""

from benchmarks.few_shot import few_shot

ROW = "ratings-10"
TARGETS = {"navigation": (0.90, 0.95), "reacher": (0.85, 0.95), "pendulum": (0.85, 0.95)}


def measure(options):
    """One figure for each family."""
    return few_shot(ROW, "ratings", TARGETS, options)
