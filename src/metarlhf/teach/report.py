"""A lesson's report: what was said, how the agent got on, and what it does in the end."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarlhf.envs import Shown, TaskFamily, draw_trajectory
from metarlhf.files import write_text
from metarlhf.report.style import Figure, integer_ticks, page_svg, render
from metarlhf.teach.records import Answer
from metarlhf.teach.teacher import LiveStatus

PLAYS = "controls autoplay loop muted playsinline"
SIZE, SQUARE = (4.6, 3.0), (4.0, 4.0)  # inches


def write_report(
    path: Path,
    shown: Shown,
    status: LiveStatus,
    answers: Sequence[Answer],
    result: dict[str, Any],
    film: bytes | None = None,
) -> Path:
    """Write the page; it holds everything it needs.

    Args:
        path: where; a failure leaves what was there before.
        shown: what the agent acts in.
        status: what people were told: learned returns, and what the agent does now.
        answers: of everybody.
        result: the session's, see `TeachingSession.result`, and where its `agent` is.
        film: what the agent does, as MP4, where it is not drawn.
    """
    from markupsafe import Markup, escape

    pictures = []
    alt = f"An episode of the trained agent in {shown.name}"
    if film is not None:
        address = "data:video/mp4;base64," + base64.b64encode(film).decode()
        video = f'<video src="{address}" aria-label="{escape(alt)}" {PLAYS}></video>'
        pictures.append(("What it does now", Markup(video)))
    elif status.now is not None and isinstance(shown, TaskFamily):
        draw = lambda figure: draw_trajectory(figure.subplots(), shown, np.asarray(status.now))
        svg = page_svg(draw, SQUARE, "now", f"{alt}, from faint to full.")
        pictures.append(("What it does now", svg))
    curve = status.curve
    if len(curve) > 1:
        alt = f"Learned return: {curve[0][1]:.1f} at first, {curve[-1][1]:.1f} in the end."
        svg = page_svg(lambda figure: _curve(figure, curve), SIZE, "curve", alt)
        pictures.append(("How well it does by what it learned", svg))
    page = render(
        "lesson.html.j2",
        family=shown.name,
        facts=_facts(result),
        pictures=pictures,
        answers=[_row(one) for one in answers],
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


def _facts(result: dict[str, Any]) -> dict[str, str]:
    """What is told in a line each, by name."""
    share = lambda value: "-" if value is None else f"{100 * value:.0f} %"
    facts = {
        "answers": str(result["labels"]),
        "moments called bad": str(result["corrections"]),
        "people": ", ".join(result["people"]),
        "time they looked": f"{result['minutes_of_looking']:.1f} minutes",
        "foreseen of the newest answers": share(result["foreseen"]),
        "steps of practice": f"{result['steps']:,}",
        "agent": result["agent"],
    }
    if result["wrong"]:
        each = (f"{name} {share(wrong)}" for name, wrong in result["wrong"].items())
        facts["wrong answers, as far as the model can tell"] = ", ".join(each)
    if "cost" in result:
        facts["share of steps that must never be, by the model"] = (
            "-" if result["cost"] is None else f"{100 * result['cost']:.2f} %"
        )
    if result["agreement"] is not None:
        facts["agreement of people (Krippendorff's alpha)"] = f"{result['agreement']:.2f}"
    return facts


def _row(answer: Answer) -> dict[str, str]:
    """An answer in words: left and right as they were shown."""
    question, said = answer.question, "can't tell"
    if answer.mark is not None:
        said = f"{answer.mark} of {answer.levels}"
    elif answer.preference is not None:
        shown = 1 - answer.preference if question.swapped else answer.preference
        said = {0.0: "left", 0.5: "equal", 1.0: "right"}[shown]
    return {
        "question": f"{question.kind} {question.id}",
        "said": said,
        "foreseen": {None: "-", True: "yes", False: "no"}[answer.foreseen],
        "by": answer.annotator,
        "seconds": f"{answer.seconds:.1f}",
    }
