"""A lesson's report: what was said, how the agent got on, and what it does in the end."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarlhf.envs import Shown, TaskFamily, draw_trajectory
from metarlhf.files import write_text
from metarlhf.report.style import Figure, integer_ticks, page_svg, render

PLAYS = "controls autoplay loop muted playsinline"
SIZE, SQUARE = (4.6, 3.0), (4.0, 4.0)  # inches


def write_lesson(
    path: Path,
    shown: Shown,
    now: Any,
    curve: Sequence[tuple[int, float]],
    answers: Sequence[dict[str, Any]],
    facts: dict[str, str],
    film: bytes | None = None,
) -> Path:
    """Write the page; it holds everything it needs.

    Args:
        path: where; a failure leaves what was there before.
        shown: what the agent acts in.
        now: observations [time, obs] of the trained agent's episode, or None.
        curve: learned return after so many answers.
        answers: what each was about, in words: "question", "said", "by", "seconds".
        facts: what is told in a line each, by name.
        film: what the agent does, as MP4, where it is not drawn.
    """
    from markupsafe import Markup, escape

    pictures = []
    alt = f"An episode of the trained agent in {shown.name}"
    if film is not None:
        address = "data:video/mp4;base64," + base64.b64encode(film).decode()
        video = f'<video src="{address}" aria-label="{escape(alt)}" {PLAYS}></video>'
        pictures.append(("What it does now", Markup(video)))
    elif now is not None and isinstance(shown, TaskFamily):
        draw = lambda figure: draw_trajectory(figure.subplots(), shown, np.asarray(now))
        svg = page_svg(draw, SQUARE, "now", f"{alt}, from faint to full.")
        pictures.append(("What it does now", svg))
    if len(curve) > 1:
        alt = f"Learned return: {curve[0][1]:.1f} at first, {curve[-1][1]:.1f} in the end."
        svg = page_svg(lambda figure: _curve(figure, curve), SIZE, "curve", alt)
        pictures.append(("How well it does by what it learned", svg))
    page = render(
        "lesson.html.j2", family=shown.name, facts=facts, pictures=pictures, answers=answers
    )
    write_text(path, page)
    return path


def _curve(figure: Figure, curve: Sequence[tuple[int, float]]) -> None:
    axes = figure.subplots()
    count, value = zip(*curve, strict=True)
    axes.plot(count, value, "-o", markersize=3)
    axes.set_xlabel("answers")
    axes.set_ylabel("learned return of an episode")
    integer_ticks(axes.xaxis)
    axes.grid(axis="y")
