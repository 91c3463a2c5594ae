"""An explanation as plain values, for other programs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from metarlhf.explain import Additive, Answered, Calibration, Explanation, Map, Shape
from metarlhf.report.explained_verdict import SCALE, verdict


def as_json(found: Explanation) -> dict[str, Any]:
    """The explanation as plain values; what is not known is null."""
    features = [feature.name for feature in found.features]
    told = verdict(found)
    return {
        "verdict": {**told._asdict(), "scale": SCALE, "text": told.text},
        "family": found.family,
        "steps_seen": found.seen,
        "features": [{"name": f.name, "unit": f.unit or None} for f in found.features],
        "importance": {
            name: {
                "integrated_gradients": dict(zip(features, one.gradients.tolist(), strict=True)),
                "permutation": dict(zip(features, one.permutation.tolist(), strict=True)),
            }
            for name, one in found.importance.items()
        },
        "follows": [
            {"feature": one.feature.name, "of": [f.name for f in one.of], "r2": one.r2}
            for one in found.follows
        ],
        "completeness": found.completeness._asdict(),
        "episode": {
            "obs": found.episode.obs,
            "reward": found.episode.reward,
            "parts": dict(zip(features, found.episode.parts.T.tolist(), strict=True)),
        },
        "maps": [_map(one) for one in found.maps],
        "additive": _additive(found.additive),
        "distances": [one._asdict() for one in found.distances],
        "answers": [_answer(one) for one in found.answers],
        "calibration": _calibration(found.calibration),
        "wrong_answers": found.wrong,
    }


def _map(one: Map) -> dict[str, Any]:
    return {
        "features": [feature.name for feature in one.features],
        "extent": one.extent,
        "rewards": _each(_holes, one.rewards),
        "spread": _each(_holes, one.spread),
        "density": one.density,
        "forbidden": None if one.forbidden is None else _holes(one.forbidden),
    }


def _additive(found: Additive) -> dict[str, Any]:
    shapes = [_shape(shape) for shape in found.shapes]
    return {"formula": found.formula, "r2": found.r2, "exact": found.exact, "shapes": shapes}


def _shape(one: Shape) -> dict[str, Any]:
    return {
        "features": [feature.name for feature in one.features],
        "knots": [
            list(feature.options) or feature.shown(knots)
            for feature, knots in zip(one.features, one.knots, strict=True)
        ],
        "values": one.values,
        "spread": one.spread,
        "seen": one.seen,
        "weight": one.weight,
    }


def _answer(one: Answered) -> dict[str, Any]:
    return {
        "number": one.number,
        "said": one.said,
        "levels": one.levels,
        "expected_before": one.before,
        "expected_after": one.after,
        "expected_by_others": one.others,
        "misfit": one.misfit,
        "influence": one.influence,
        "by": one.by,
    }


def _each(change: Callable[[Any], Any], named: dict[str, Any]) -> dict[str, Any]:
    return {name: change(value) for name, value in named.items()}


def _holes(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(x) else x for x in row] for row in values.tolist()]


def _calibration(found: Calibration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    diagrams = {
        name: {
            **one._asdict(),
            "accuracy": one.accuracy,
            "mean_confidence": one.mean_confidence,
            "expected_error": one.expected_error,
        }
        for name, one in found.diagrams.items()
    }
    return {"of": found.of, "questions": found.questions, "diagrams": diagrams}
