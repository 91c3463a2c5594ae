"""The page about a learned reward, and the same as plain values for other programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarlhf.envs import Shown, TaskFamily
from metarlhf.explain import Calibration, ExplainedAnswer, Explanation, Feature, Map, ShapeFunction
from metarlhf.explain.answers import MISFIT
from metarlhf.files import write_json, write_text
from metarlhf.report import explanation_figures as figures
from metarlhf.report import explanation_text as text
from metarlhf.report import style, wording
from metarlhf.report.explanation_text import SCALE, Answerer, verdict
from metarlhf.report.figures import draw_question
from metarlhf.report.html import CLIP, CLIPS, Drawing, drawing, legend
from metarlhf.report.schema import Mark, Question
from metarlhf.types import Task

JSON, PAGE = "explain.json", "explain.html"
# Inches, as wide as a phone shows without making the letters small.
BARS, EPISODE, MAP, TALL_MAP, SHAPE = (4.6, 3.4), (4.6, 3.4), (5.4, 4.4), (5.4, 6.2), (3.0, 2.2)
MAX_QUESTIONS, MAX_MISFITS, MAX_SHAPES = 12, 8, 8


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain values; what is not known is null."""
    by_feature = lambda values: dict(
        zip(_names(explanation.features), values.tolist(), strict=True)
    )
    judged, additive = verdict(explanation), explanation.additive
    return {
        "verdict": {**judged._asdict(), "scale": SCALE, "text": judged.text},
        "family": explanation.family,
        "steps_seen": explanation.num_steps,
        "features": [{"name": f.name, "unit": f.unit or None} for f in explanation.features],
        "importance": {
            name: {
                "integrated_gradients": by_feature(one.gradients),
                "permutation": by_feature(one.permutation),
            }
            for name, one in explanation.importance.items()
        },
        "follows": [
            {"feature": one.feature.name, "of": _names(one.sources), "r2": one.r2}
            for one in explanation.dependent
        ],
        "completeness": explanation.completeness._asdict(),
        "episode": {
            "obs": explanation.episode.obs,
            "reward": explanation.episode.reward,
            "parts": by_feature(explanation.episode.parts.T),
        },
        "maps": [_map_json(one) for one in explanation.maps],
        "additive": {
            "formula": additive.formula,
            "r2": additive.r2,
            "exact": additive.exact,
            "shapes": [_shape_json(shape) for shape in additive.shapes],
        },
        "distances": [one._asdict() for one in explanation.distances],
        "answers": [_answer_json(one) for one in explanation.answers],
        "calibration": _calibration_json(explanation.calibration),
        "wrong_answers": explanation.error_rates,
    }


def _names(features: Sequence[Feature]) -> list[str]:
    return [feature.name for feature in features]


def _map_json(one: Map) -> dict[str, Any]:
    known = lambda grid: [[None if np.isnan(x) else x for x in row] for row in grid.tolist()]
    return {
        "features": _names(one.features),
        "extent": one.extent,
        "rewards": {name: known(grid) for name, grid in one.rewards.items()},
        "spread": {name: known(grid) for name, grid in one.disagreement.items()},
        "density": one.density,
        "forbidden": None if one.forbidden is None else known(one.forbidden),
    }


def _shape_json(one: ShapeFunction) -> dict[str, Any]:
    return {
        "features": _names(one.features),
        "knots": [
            list(feature.options) or feature.in_units(knots)
            for feature, knots in zip(one.features, one.knots, strict=True)
        ],
        "values": one.values,
        "spread": one.disagreement,
        "seen": one.observed,
        "weight": one.weight,
    }


def _answer_json(one: ExplainedAnswer) -> dict[str, Any]:
    return {
        "number": one.number,
        "said": one.answer,
        "levels": one.levels,
        "expected_before": one.before,
        "expected_after": one.after,
        "expected_by_others": one.left_out,
        "misfit": one.misfit,
        "influence": one.influence,
        "by": one.annotator,
    }


def _calibration_json(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    computed = ("accuracy", "mean_confidence", "expected_error")
    diagrams = {
        name: diagram._asdict() | {key: getattr(diagram, key) for key in computed}
        for name, diagram in calibration.diagrams.items()
    }
    return calibration._asdict() | {"diagrams": diagrams}


def write_explanation(
    folder: Path,
    explanation: Explanation,
    family: Shown,
    *,
    task: Task | None,
    references: int,
    other: str | None = None,
    answerer: Answerer = "people",
) -> Path:
    """Write the page and the same as JSON.

    Args:
        folder: made if it is not there; a failure leaves what was there before.
        explanation: what to show.
        family: draws the clips; a host simulator draws none.
        task: what was to be learned, drawn as a star; None where nobody knows.
        references: number of baselines of the attributions.
        other: what the other run that it is compared with is called.
        answerer: who answered.

    Returns:
        The page's path.
    """
    write_json(folder / JSON, as_json(explanation))
    write_text(folder / PAGE, render(explanation, family, task, references, other, answerer))
    return folder / PAGE


def render(
    explanation: Explanation,
    family: Shown,
    task: Task | None,
    references: int,
    other: str | None = None,
    answerer: Answerer = "people",
) -> str:
    """The page as a string; the same explanation gives the same page, byte for byte."""
    answers = explanation.answers
    drawn = family if isinstance(family, TaskFamily) else None
    return style.render(
        "explanation.html.j2",
        w=wording,
        text=text,
        found=explanation,
        verdict=verdict(explanation),
        importance=_importance(explanation),
        episode=_episode(explanation, "An episode of the agent" if drawn else "The newest clip"),
        references=references,
        shapes=_shapes(explanation),
        maps=_maps(explanation),
        calibration=_calibration(explanation.calibration),
        quarter=wording.percent(1 - MISFIT),
        misfitting=sum(one.misfit for one in answers),
        signs=[] if not drawn else [e for e in legend(drawn) if task is not None or not e.of_task],
        misfits=text.misfits(answers, answerer, explanation.error_rates),
        doubted=text.CAUSES[answerer],
        people=text.annotators(answers, explanation.error_rates),
        beliefs=_beliefs(answers),
        questions=[_question(one, drawn, task) for one in _influential(answers)] if drawn else [],
        odd=[_question(one, drawn, task, True) for one in _misfits(answers)] if drawn else [],
        names={
            "before": "before the answers", "after": "learned", "true": "true reward",
            "other": other or "the other run",
        },
        json=JSON,
    )  # fmt: skip


def _importance(explanation: Explanation) -> Drawing:
    after = explanation.importance["after"]
    shares = ", ".join(
        f"{explanation.features[i].name} {wording.percent(float(after.gradients[i]))}"
        for i in figures.importance_order(explanation)
    )
    return drawing(
        lambda axes: figures.draw_importance(axes, explanation), (1, 1), BARS, "importance",
        f"Shares of features by integrated gradients: {shares}.",
        "How much of the reward each feature accounts for, over all that was seen"
        + ("; for the true reward, too" if "true" in explanation.importance else ""),
    )  # fmt: skip


def _episode(explanation: Explanation, what: str) -> Drawing:
    return drawing(
        lambda figure: figures.draw_episode(
            figure.subplots(2, 1, height_ratios=(1, 2)), explanation
        ),
        None, EPISODE, "episode",
        f"{what}: the reward of its {len(explanation.episode.reward)} steps, and the parts of it.",
        f"{what}: what each step is paid, and which feature adds (blue) or takes (orange) how much",
    )  # fmt: skip


def _shapes(explanation: Explanation) -> list[Drawing]:
    shapes = explanation.additive.shapes[:MAX_SHAPES]
    limits = figures.shape_limits(shapes)
    return [
        drawing(
            lambda axes: figures.draw_shape(axes, shape, limits), (1, 1), SHAPE, f"shape{i}",
            f"What {' and '.join(_names(shape.features))} adds to the reward, from "
            f"{shape.values.min():.2f} to {shape.values.max():.2f}.",
            f"f({', '.join(_names(shape.features))})",
        )
        for i, shape in enumerate(shapes)
    ]  # fmt: skip


def _maps(explanation: Explanation) -> list[Drawing]:
    """Those first that say most about where what is forbidden is."""
    informative = lambda one: 0.0 if one.forbidden is None else float(np.nanstd(one.forbidden))
    drawn = []
    for i, one in enumerate(sorted(explanation.maps, key=informative, reverse=True)):
        rows = 3 if "true" in one.rewards or one.forbidden is not None else 2
        pair = " and ".join(_names(one.features))
        drawn.append(
            drawing(
                lambda panels: figures.draw_map(panels, one), (rows, 2),
                TALL_MAP if rows == 3 else MAP, f"map{i}",
                f"The reward over {pair} before and after the answers.", f"Over {pair}",
            )
        )  # fmt: skip
    return drawn


def _calibration(calibration: Calibration | None) -> Drawing | None:
    if calibration is None:
        return None
    return drawing(
        lambda axes: figures.draw_reliability(axes, calibration), (1, 1), BARS, "calibration",
        text.calibration(calibration),
        "How sure the model was of an answer, and how often it was right then: on the dashed line "
        "as often. The larger a dot, the more answers",
    )  # fmt: skip


def _beliefs(answers: list[ExplainedAnswer]) -> Drawing | None:
    if not answers:
        return None
    return drawing(
        lambda axes: figures.draw_beliefs(axes, answers), (1, 1), BARS, "beliefs",
        text.predictions(answers),
        "How close each answer was to what the model expected; 100 % is just what it expected",
    )  # fmt: skip


def _influential(answers: Sequence[ExplainedAnswer]) -> list[ExplainedAnswer]:
    """The answers that moved the reward most, that which moved it most first."""
    far = lambda one: one.improvement if one.influence is None else one.influence
    return sorted(answers, key=lambda one: -far(one))[:MAX_QUESTIONS]


def _misfits(answers: Sequence[ExplainedAnswer]) -> list[ExplainedAnswer]:
    """The answers that fit the others least."""
    misfits = [one for one in answers if one.misfit]
    return sorted(misfits, key=lambda one: -abs(one.answer - (one.left_out or 0.0)))[:MAX_MISFITS]


def _question(
    one: ExplainedAnswer, family: TaskFamily, task: Task | None, misfit: bool = False
) -> Drawing:
    """With predictions before and after; of a misfit, with that of a fit without it."""
    first, last = one.clips[0], one.clips[-1]
    question = Mark(first, one.answer) if one.levels else Question(first, last, one.answer)
    before, after = (text.prediction(one, value) for value in (one.before, one.after))
    told = f"{before} \N{RIGHTWARDS ARROW} {after}"
    name, alt = f"question{one.number}", f"Expected before and after: {told}."
    if misfit and one.left_out is not None:
        told = f"by the others {text.prediction(one, one.left_out)}"
        name, alt = f"odd{one.number}", f"Expected {told}."
    elif one.influence is not None:
        told += f"; moved the reward by {text.small_share(one.influence)}"
    return drawing(
        lambda axes: draw_question(axes, family, task, question),
        (1, 1) if one.levels else (1, 2), CLIP if one.levels else CLIPS, name,
        f"Question {one.number}. The answer: {text.answer(one)}. {alt}",
        f"{one.number}. {text.answer(one)}: {told}",
    )  # fmt: skip
