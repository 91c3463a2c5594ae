"""The page about a learned reward: what it pays for, where, how sure it is, and why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from metarlhf.envs import TaskFamily
from metarlhf.explain import Answered, Explanation
from metarlhf.files import write_json, write_text
from metarlhf.report import explained_figures as figures
from metarlhf.report import wording
from metarlhf.report.figures import draw_question
from metarlhf.report.html import CLIP, CLIPS, Drawing, drawing
from metarlhf.report.schema import Mark, Question
from metarlhf.report.style import DARK, LIGHT
from metarlhf.types import Task

# Inches, as wide as a phone shows without making the letters small.
BARS, EPISODE, MAP, TALL_MAP, SHAPE = (4.6, 3.4), (4.6, 3.4), (5.4, 4.4), (5.4, 6.2), (3.0, 2.2)
QUESTIONS = 12
JSON, PAGE = "explain.json", "explain.html"


def write_explanation(
    folder: Path,
    found: Explanation,
    family: TaskFamily,
    *,
    task: Task | None,
    references: int,
    other: str | None = None,
) -> Path:
    """Write the page and the same as JSON into `folder`; returns the page's path.

    Args:
        folder: made if it is not there; a failure leaves what was there before.
        found: what is to be told.
        family: draws the clips.
        task: what was to be learned, drawn as a star; None where nobody knows.
        references: steps that attributions are counted from.
        other: what the other run that it is compared with is called.
    """
    write_json(folder / JSON, as_json(found))
    write_text(folder / PAGE, render(found, family, task, references, other))
    return folder / PAGE


def render(
    found: Explanation,
    family: TaskFamily,
    task: Task | None,
    references: int,
    other: str | None = None,
) -> str:
    """The page as a string; the same explanation gives the same page, byte for byte."""
    environment = Environment(
        loader=PackageLoader("metarlhf.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(w=wording, light=LIGHT, dark=DARK)
    answers, shapes = found.answers, found.additive.shapes
    return environment.get_template("explained.html.j2").render(
        found=found,
        headline=headline(found),
        importance=_importance(found),
        episode=_episode(found),
        references=references,
        error=_share(found.completeness.error),
        largest=_share(found.completeness.largest),
        r2=wording.percent(found.additive.r2),
        maps_in_line=any(len(shape.features) == 2 for shape in shapes),
        shapes=_shapes(found),
        maps=_maps(found),
        foreseen=_foreseen(answers),
        beliefs=_beliefs(answers),
        questions=_questions(found, family, task),
        marks=any(one.levels for one in answers),
        said=said,
        expected=expected,
        names={
            "before": "before the answers", "after": "learned", "true": "true reward",
            "other": other or "the other run",
        },
        json=JSON,
    )  # fmt: skip


def headline(found: Explanation) -> str:
    """What the reward pays for, in one sentence: features that make up most of it."""
    share = found.importance["after"].gradients
    order = np.argsort(-share, kind="stable")
    count = int(np.searchsorted(np.cumsum(share[order]), 0.85)) + 1
    parts = [
        f"{found.features[i].name} ({wording.percent(float(share[i]))})" for i in order[:count][:3]
    ]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"This reward is about {listed}"


def _share(value: float) -> str:
    """A small share in per cent."""
    if value < 1e-5:
        return f"less than 0.001{wording.PERCENT}"
    return f"{100 * value:.2g}{wording.PERCENT}"


def said(one: Answered) -> str:
    """The answer in words."""
    if one.levels:
        return f"{wording.number(one.said)} of {one.levels}"
    return "equal" if one.said == 0.5 else "right" if one.said > 0.5 else "left"


def expected(one: Answered, value: float) -> str:
    """What was expected, in words: a mark, or how likely the clip that was chosen."""
    if one.levels:
        return f"{value:.1f}"
    if one.said == 0.5:
        return f"right: {wording.percent(value)}"
    return wording.percent(value if one.said > 0.5 else 1 - value)


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


def _episode(found: Explanation) -> Drawing:
    def draw(figure: Any) -> None:
        figures.draw_episode(figure.subplots(2, 1, height_ratios=(1, 2)), found)

    return drawing(
        draw, None, EPISODE, "episode",
        f"Reward of the {len(found.episode.reward)} steps of an episode, and the parts of it.",
        "An episode of the agent: what each step is paid, and which feature adds (blue) or takes "
        "(orange) how much",
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


def _maps(found: Explanation) -> list[Drawing]:
    drawn = []
    for i, one in enumerate(found.maps):
        rows = 3 if "true" in one.rewards else 2
        drawn.append(
            drawing(
                lambda panels: figures.draw_map(panels, one), (rows, 2),
                TALL_MAP if rows == 3 else MAP, f"map{i}",
                f"The reward over {figures.named(one.features)} before and after the answers.",
                _over(one.features),
            )
        )  # fmt: skip
    return drawn


def _foreseen(answers: list[Answered]) -> str:
    """How much of what was said was expected."""
    before = float(np.mean([1 - one.surprise for one in answers])) if answers else 0.0
    after = before + (float(np.mean([one.moved for one in answers])) if answers else 0.0)
    return (
        f"Before the first answer the model's expectations were {wording.percent(before)} right on "
        f"average, after the last one {wording.percent(after)}."
    )


def _beliefs(answers: list[Answered]) -> Drawing | None:
    if not answers:
        return None
    return drawing(
        lambda axes: figures.draw_beliefs(axes, answers), (1, 1), BARS, "beliefs",
        _foreseen(answers),
        "How close each answer was to what the model expected; 100 % is just what it expected",
    )  # fmt: skip


def _questions(found: Explanation, family: TaskFamily, task: Task | None) -> list[Drawing]:
    """The questions whose answers moved the model most, in the order they were asked."""
    most = sorted(found.answers, key=lambda one: -one.moved)[:QUESTIONS]
    return [_question(one, family, task) for one in sorted(most, key=lambda one: one.number)]


def _question(one: Answered, family: TaskFamily, task: Task | None) -> Drawing:
    first, last = one.clips[0], one.clips[-1]
    question = Mark(first, one.said) if one.levels else Question(first, last, one.said)
    told = f"{expected(one, one.before)} \N{RIGHTWARDS ARROW} {expected(one, one.after)}"
    return drawing(
        lambda axes: draw_question(axes, family, task, question),
        (1, 1) if one.levels else (1, 2), CLIP if one.levels else CLIPS, f"question{one.number}",
        f"Question {one.number}. The answer: {said(one)}. Expected before and after: {told}.",
        f"{one.number}. {said(one)}: {told}",
    )  # fmt: skip


def as_json(found: Explanation) -> dict[str, Any]:
    """The explanation as plain values; what is not known is null."""
    features = [feature.name for feature in found.features]
    return {
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
        "completeness": found.completeness._asdict(),
        "episode": {
            "obs": found.episode.obs,
            "reward": found.episode.reward,
            "parts": dict(zip(features, found.episode.parts.T.tolist(), strict=True)),
        },
        "maps": [
            {
                "features": [feature.name for feature in one.features],
                "extent": one.extent,
                "rewards": _each(_holes, one.rewards),
                "spread": _each(_holes, one.spread),
                "density": one.density,
            }
            for one in found.maps
        ],
        "additive": {
            "formula": found.additive.formula,
            "r2": found.additive.r2,
            "exact": found.additive.exact,
            "shapes": [
                {
                    "features": [feature.name for feature in shape.features],
                    "knots": [
                        list(feature.options) or feature.shown(knots)
                        for feature, knots in zip(shape.features, shape.knots, strict=True)
                    ],
                    "values": shape.values,
                    "spread": shape.spread,
                    "weight": shape.weight,
                }
                for shape in found.additive.shapes
            ],
        },
        "distances": [one._asdict() for one in found.distances],
        "answers": [
            {
                "number": one.number,
                "said": one.said,
                "levels": one.levels,
                "expected_before": one.before,
                "expected_after": one.after,
            }
            for one in found.answers
        ],
    }


def _each(change: Callable[[Any], Any], named: dict[str, Any]) -> dict[str, Any]:
    return {name: change(value) for name, value in named.items()}


def _holes(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(x) else x for x in row] for row in values.tolist()]
