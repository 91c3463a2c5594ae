"""Krippendorff's alpha, by hand and against chance."""

import numpy as np
import pytest

from metarlhf.teach.people import krippendorff_alpha


def test_by_hand():
    """Two questions: 0 and 1, 1 and 1. Observed disagreement 2/4, expected 6/12."""
    assert krippendorff_alpha([{"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}]) == pytest.approx(0.0)
    # Three people: pairs of 0, 0, 1 differ in 4 of 6; values 0, 0, 1, 1, 1, 1 in 16 of 30.
    units = [{"a": 0.0, "b": 0.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}]
    assert krippendorff_alpha(units) == pytest.approx(1 - (4 / 2 / 6) / (16 / 30))


def test_agreement_is_one_chance_is_nothing_and_opposites_are_below():
    rng = np.random.default_rng(0)
    same = [{"a": float(v), "b": float(v)} for v in rng.integers(2, size=50)]
    chance = [{"a": float(a), "b": float(b)} for a, b in rng.integers(2, size=(20_000, 2))]
    opposite = [{"a": float(v), "b": 1.0 - v} for v in rng.integers(2, size=50)]
    assert krippendorff_alpha(same) == 1.0
    assert krippendorff_alpha(chance) == pytest.approx(0.0, abs=0.02)
    assert krippendorff_alpha(opposite) < -0.9


def test_what_one_person_alone_was_asked_counts_for_nothing():
    units = [{"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 1.0}]
    assert krippendorff_alpha([*units, {"a": 0.0}, {}]) == krippendorff_alpha(units)
    assert krippendorff_alpha([{"a": 1.0}]) is None
    assert krippendorff_alpha([{"a": 1.0, "b": 1.0}]) == 1.0
