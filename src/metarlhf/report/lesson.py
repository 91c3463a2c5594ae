"""A lesson's report: what was said, how the agent got on, and what it does in the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarlhf.envs import TaskFamily, draw_trajectory
from metarlhf.files import write_text
from metarlhf.report.style import DARK, LIGHT, page_svg

SIZE, SQUARE = (4.6, 3.0), (4.0, 4.0)  # inches


def write_lesson(
    path: Path,
    family: TaskFamily,
    now: Any,
    curve: Sequence[tuple[int, float]],
    answers: Sequence[dict[str, Any]],
    facts: dict[str, str],
) -> Path:
    """Write the page; it holds everything it needs.

    Args:
        path: where; a failure leaves what was there before.
        family: draws what the agent does.
        now: observations [time, obs] of the trained agent's episode, or None.
        curve: learned return after so many answers.
        answers: what each was about, in words: "question", "said", "by", "seconds".
        facts: what is told in a line each, by name.
    """
    environment = Environment(
        loader=PackageLoader("metarlhf.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pictures = []
    if now is not None:
        alt = f"An episode of the trained agent in {family.name}, from faint to full."
        draw = lambda figure: draw_trajectory(figure.subplots(), family, np.asarray(now))
        pictures.append(("What it does now", page_svg(draw, SQUARE, "now", alt)))
    if len(curve) > 1:
        alt = f"Learned return: {curve[0][1]:.1f} at first, {curve[-1][1]:.1f} in the end."
        svg = page_svg(lambda figure: _curve(figure, curve), SIZE, "curve", alt)
        pictures.append(("How well it does by what it learned", svg))
    template = environment.get_template("lesson.html.j2")
    page = template.render(
        family=family.name, facts=facts, pictures=pictures, answers=answers, light=LIGHT, dark=DARK
    )
    write_text(path, page)
    return path


def _curve(figure: Figure, curve: Sequence[tuple[int, float]]) -> None:
    axes = figure.subplots()
    count, value = zip(*curve, strict=True)
    axes.plot(count, value, "-o", markersize=3)
    axes.set_xlabel("answers")
    axes.set_ylabel("learned return of an episode")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
