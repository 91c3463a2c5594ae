"""An explanation as plain values, for other programs.

The page about a learned reward: what it pays for, where, how sure it is, and why.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from metarlhf.envs import Shown, TaskFamily
from metarlhf.explain import Additive, Answered, Calibration, Explanation, Map, Shape
from metarlhf.explain.answers import FITS_NOT
from metarlhf.files import write_json, write_text
from metarlhf.report import explained_figures as figures
from metarlhf.report import explained_words as words
from metarlhf.report import style, wording
from metarlhf.report.explained_words import SCALE, verdict
from metarlhf.report.figures import draw_question
from metarlhf.report.html import CLIP, CLIPS, Drawing, Sign, drawing, signs
from metarlhf.report.schema import Mark, Question
from metarlhf.types import Task


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
        "calibration": _calibration_data(found.calibration),
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


def _calibration_data(found: Calibration | None) -> dict[str, Any] | None:
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


# Inches, as wide as a phone shows without making the letters small.
BARS, EPISODE, MAP, TALL_MAP, SHAPE = (4.6, 3.4), (4.6, 3.4), (5.4, 4.4), (5.4, 6.2), (3.0, 2.2)
QUESTIONS, ODD = 12, 8
JSON, PAGE = "explain.json", "explain.html"


def write_explanation(
    folder: Path,
    found: Explanation,
    family: Shown,
    *,
    task: Task | None,
    references: int,
    other: str | None = None,
    by: words.Answerer = "people",
) -> Path:
    """Write the page and the same as JSON into `folder`; returns the page's path.

    Args:
        folder: made if it is not there; a failure leaves what was there before.
        found: what is to be told.
        family: draws the clips; a simulator draws none.
        task: what was to be learned, drawn as a star; None where nobody knows.
        references: steps that attributions are counted from.
        other: what the other run that it is compared with is called.
        by: who answered.
    """
    write_json(folder / JSON, as_json(found))
    write_text(folder / PAGE, render(found, family, task, references, other, by))
    return folder / PAGE


def render(
    found: Explanation,
    family: Shown,
    task: Task | None,
    references: int,
    other: str | None = None,
    by: words.Answerer = "people",
) -> str:
    """The page as a string; the same explanation gives the same page, byte for byte."""
    answers, shapes = found.answers, found.additive.shapes
    drawn = isinstance(family, TaskFamily)
    return style.render(
        "explained.html.j2",
        w=wording,
        found=found,
        headline=words.headline(found),
        verdict=verdict(found),
        importance=_importance(found),
        episode=_episode(found, "An episode of the agent" if drawn else "The newest clip"),
        references=references,
        following=words.following(found),
        otherwise=words.otherwise(found),
        error=words.small_share(found.completeness.error),
        largest=words.small_share(found.completeness.largest),
        r2=wording.percent(found.additive.r2),
        maps_in_line=any(len(shape.features) == 2 for shape in shapes),
        shapes=_shapes(found),
        maps=_maps(found),
        foreseen=words.foreseen(answers),
        calibration=_calibration(found.calibration),
        calibrated=words.calibrated(found.calibration),
        quarter=wording.percent(1 - FITS_NOT),
        misfitting=sum(one.misfit for one in answers),
        signs=_signs(family, task),
        forbids=any(one.forbidden is not None for one in found.maps),
        misfits=" ".join([words.misfits(answers, by), words.taken_for_wrong(found.wrong)]).strip(),
        doubted=words.doubted(by),
        people=words.people(answers, found.wrong),
        beliefs=_beliefs(answers),
        questions=_questions(found, family, task) if drawn else [],
        odd=_odd(found, family, task) if drawn else [],
        marks=any(one.levels for one in answers),
        said=words.said,
        expected=words.expected,
        share=words.small_share,
        moved=any(one.influence is not None for one in answers),
        others=any(one.others is not None for one in answers),
        names={
            "before": "before the answers", "after": "learned", "true": "true reward",
            "other": other or "the other run",
        },
        json=JSON,
    )  # fmt: skip


def _signs(family: Shown, task: Task | None) -> list[Sign]:
    """What is in the drawings of clips, where there are any."""
    if not isinstance(family, TaskFamily):
        return []
    return [sign for sign in signs(family) if task is not None or not sign.of_task]


def _over(features: Any) -> str:
    return f"Over {figures.named(features)}"


def _importance(found: Explanation) -> Drawing:
    order, after = figures.importance_order(found), found.importance["after"]
    told = ", ".join(
        f"{found.features[i].name} {wording.percent(float(after.gradients[i]))}" for i in order
    )
    return drawing(
        lambda axes: figures.draw_importance(axes, found), (1, 1), BARS, "importance",
        f"Shares of features by integrated gradients: {told}.",
        "How much of the reward each feature accounts for, over all that was seen"
        + ("; for the true reward, too" if "true" in found.importance else ""),
    )  # fmt: skip


def _episode(found: Explanation, what: str) -> Drawing:
    def draw(figure: Any) -> None:
        figures.draw_episode(figure.subplots(2, 1, height_ratios=(1, 2)), found)

    return drawing(
        draw, None, EPISODE, "episode",
        f"{what}: the reward of its {len(found.episode.reward)} steps, and the parts of it.",
        f"{what}: what each step is paid, and which feature adds (blue) or takes (orange) how much",
    )  # fmt: skip


def _shapes(found: Explanation) -> list[Drawing]:
    shapes = found.additive.shapes[:8]
    limits = figures.shape_limits(shapes)
    return [
        drawing(
            lambda axes: figures.draw_shape(axes, shape, limits), (1, 1), SHAPE, f"shape{i}",
            f"What {figures.named(shape.features)} adds to the reward, from "
            f"{shape.values.min():.2f} to {shape.values.max():.2f}.",
            f"f({', '.join(feature.name for feature in shape.features)})",
        )
        for i, shape in enumerate(shapes)
    ]  # fmt: skip


def _told_of_forbidden(one: Map) -> float:
    """How much a map says of where what must never be is; none says more where nothing is known."""
    return 0.0 if one.forbidden is None else float(np.nanstd(one.forbidden))


def _maps(found: Explanation) -> list[Drawing]:
    drawn = []
    for i, one in enumerate(sorted(found.maps, key=_told_of_forbidden, reverse=True)):
        rows = 3 if "true" in one.rewards or one.forbidden is not None else 2
        drawn.append(
            drawing(
                lambda panels: figures.draw_map(panels, one), (rows, 2),
                TALL_MAP if rows == 3 else MAP, f"map{i}",
                f"The reward over {figures.named(one.features)} before and after the answers.",
                _over(one.features),
            )
        )  # fmt: skip
    return drawn


def _calibration(found: Calibration | None) -> Drawing | None:
    if found is None:
        return None
    return drawing(
        lambda axes: figures.draw_reliability(axes, found), (1, 1), BARS, "calibration",
        words.calibrated(found),
        "How sure the model was of an answer, and how often it was right then: on the dashed line "
        "as often. The larger a dot, the more answers",
    )  # fmt: skip


def _beliefs(answers: list[Answered]) -> Drawing | None:
    if not answers:
        return None
    return drawing(
        lambda axes: figures.draw_beliefs(axes, answers), (1, 1), BARS, "beliefs",
        words.foreseen(answers),
        "How close each answer was to what the model expected; 100 % is just what it expected",
    )  # fmt: skip


def _questions(found: Explanation, family: TaskFamily, task: Task | None) -> list[Drawing]:
    """The questions whose answers moved the reward most, that which moved it most first."""
    far = lambda one: one.moved if one.influence is None else one.influence
    most = sorted(found.answers, key=lambda one: -far(one))[:QUESTIONS]
    return [_question(one, family, task) for one in most]


def _odd(found: Explanation, family: TaskFamily, task: Task | None) -> list[Drawing]:
    """The questions whose answers fit the others least."""
    odd = [one for one in found.answers if one.misfit]
    odd = sorted(odd, key=lambda one: -abs(one.said - (one.others or 0.0)))[:ODD]
    return [_question(one, family, task, odd=True) for one in odd]


def _question(one: Answered, family: TaskFamily, task: Task | None, odd: bool = False) -> Drawing:
    """With what the model expected; of an `odd` one, with what the other answers make of it."""
    first, last = one.clips[0], one.clips[-1]
    question = Mark(first, one.said) if one.levels else Question(first, last, one.said)
    told = (
        f"{words.expected(one, one.before)} \N{RIGHTWARDS ARROW} {words.expected(one, one.after)}"
    )
    name, alt = f"question{one.number}", f"Expected before and after: {told}."
    if odd and one.others is not None:
        told = f"by the others {words.expected(one, one.others)}"
        name, alt = f"odd{one.number}", f"Expected {told}."
    elif one.influence is not None:
        told += f"; moved the reward by {words.small_share(one.influence)}"
    return drawing(
        lambda axes: draw_question(axes, family, task, question),
        (1, 1) if one.levels else (1, 2), CLIP if one.levels else CLIPS, name,
        f"Question {one.number}. The answer: {words.said(one)}. {alt}",
        f"{one.number}. {words.said(one)}: {told}",
    )  # fmt: skip
