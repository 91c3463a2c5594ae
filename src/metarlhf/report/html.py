"""The report: one HTML file that holds everything it needs, and asks the network for nothing.

With what its pages share: drawings with captions, and a legend of what the drawings of a family
show (by `metarlhf.envs.drawing`). Register the legend of a family of your own likewise:

    @legend.register(MyFamily)
    def legend_of_my_family(family): ...
"""

from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

from metarlhf.envs import TaskFamily
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.drawing import AGENT, DASHES, TARGET, looks
from metarlhf.envs.navigation import Hazard, Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher
from metarlhf.files import write_text
from metarlhf.report import figures, style, wording
from metarlhf.report.schema import (
    Example,
    FamilyPictures,
    FamilyResult,
    Mark,
    Pictures,
    Question,
    Results,
    checked,
)
from metarlhf.report.style import Figure, Markup, page_svg

# The dashes of `looks` as signs, and its colours as roles.
DASHED = ("\N{EM DASH}", "\N{EN DASH} \N{EN DASH}", "\N{MIDDLE DOT} \N{MIDDLE DOT} \N{MIDDLE DOT}",
          "\N{EN DASH} \N{MIDDLE DOT}")  # fmt: skip
ROLES: dict[str, Literal["first", "second"]] = {AGENT: "first", TARGET: "second"}


class Entry(NamedTuple):
    """Of a legend: a sign, its colour's role (`report.style.Palette`), and what it means."""

    sign: str
    colour: Literal["ink", "first", "second"]
    means: str
    of_task: bool = False
    """Drawn only where it is known what was wanted."""


@singledispatch
def legend(family: TaskFamily) -> tuple[Entry, ...]:
    """The legend of a family's drawings; dispatched on its class, as drawing is."""
    dashed = dict(zip(DASHES, DASHED, strict=True))
    drawn = zip(looks(), family.observation_space.names, strict=False)
    return tuple(
        Entry(
            dashed[look["linestyle"]],
            ROLES.get(look["color"], "ink"),
            name if look["alpha"] == 1 else f"{name} (faint)",
        )
        for look, name in drawn
    )


@legend.register(Navigation)
def _legend_of_navigation(family: Navigation) -> tuple[Entry, ...]:
    """A path, the goal, and where goals may be."""
    near = Entry("\N{WHITE CIRCLE}", "second", "as near to it as is paid", True)
    return (
        Entry("\N{WHITE CIRCLE}", "first", "where the clip begins"),
        Entry("\N{BLACK CIRCLE}", "first", "where it ends"),
        Entry("\N{BLACK STAR}", "second", "the goal, which no agent is told", True),
        *((near,) if family.sparse else ()),
        Entry("\N{EM DASH}", "ink", "where goals may be"),
    )


@legend.register(Hazard)
def _legend_of_hazard(family: Hazard) -> tuple[Entry, ...]:
    """The same, and what is forbidden."""
    forbidden = Entry("\N{DOTTED CIRCLE}", "second", "where nobody may be", True)
    return (*_legend_of_navigation(family), forbidden)


@legend.register(Reacher)
def _legend_of_reacher(family: Reacher) -> tuple[Entry, ...]:
    """The arm, its fingertip and the target."""
    return (
        Entry("\N{BLACK CIRCLE}", "first", "the fingertip in the end, its path behind it"),
        Entry("\N{EM DASH}", "ink", "the arm, from faint to full, and the circle that it reaches"),
        Entry("\N{BLACK STAR}", "second", "the target, which no agent is told", True),
    )


@legend.register(Pendulum)
def _legend_of_pendulum(family: Pendulum) -> tuple[Entry, ...]:
    """The rod, its tip and the angle to hold."""
    return (
        Entry("\N{BLACK CIRCLE}", "first", "the rod's tip in the end, its path behind it"),
        Entry("\N{EM DASH}", "ink", "the rod, from faint to full"),
        Entry("\N{BLACK STAR}", "second", "where to hold it, which no agent is told", True),
    )


@legend.register(CartPole)
def _legend_of_cartpole(family: CartPole) -> tuple[Entry, ...]:
    """Two curves over time."""
    return (
        Entry("\N{EM DASH}", "first", "the pole's angle over time"),
        Entry("\N{EM DASH}", "second", "the cart's position; the band is as far as either may go"),
    )


# Inches, as wide as a phone shows without making the letters small.
CURVE, PAIR, CLIPS, CLIP = (4.6, 3.2), (4.6, 2.6), (2.9, 1.65), (1.5, 1.65)


class Drawing(NamedTuple):
    """A picture and what stands below it."""

    svg: Markup
    caption: str


class ShownExample(NamedTuple):
    """A held-out task as the page shows it."""

    drawings: list[Drawing]
    questions: list[Drawing]


class Section(NamedTuple):
    """All there is to show of a family."""

    result: FamilyResult
    anchor: str
    curves: list[Drawing]
    examples: list[ShownExample]
    more: list[Drawing]
    legend: Sequence[Entry]


def write_report(path: Path, results: Results, pictures: Pictures) -> Path:
    """Write the page to `path`; a failure leaves what was there before.

    Raises:
        ValueError: results that `schema.checked` refuses, or trajectories of another family.
        OSError: the file cannot be written.
    """
    write_text(path, render(results, pictures))
    return path


def render(results: Results, pictures: Pictures) -> str:
    """The page as a string; the same results give the same page, byte for byte."""
    checked(results)
    sections = [
        _section(family, pictures.get(family["family"]), f"f{i}")
        for i, family in enumerate(results["families"])
    ]
    return style.render("report.html.j2", w=wording, results=results, sections=sections)


def _section(family: FamilyResult, pictures: FamilyPictures | None, anchor: str) -> Section:
    examples = pictures.examples if pictures else ()
    shown = [
        _example(family, pictures, example, f"{anchor}e{i}")
        for i, example in enumerate(examples)
        if pictures
    ]
    marked = [e.number for e in examples if e.number is not None]
    return Section(
        family,
        anchor,
        list(_curves(family, anchor)),
        shown,
        list(_more(family, marked, anchor)),
        legend(pictures.family) if pictures else (),
    )


def drawing(
    plot: Callable[[Any], None],
    layout: tuple[int, int] | None,
    size: tuple[float, float],
    name: str,
    alt: str,
    caption: str,
) -> Drawing:
    """A figure as SVG with its caption.

    Args:
        plot: draws into the axes of `layout`, or without it into the figure.
        layout: rows and columns of axes.
        size: width and height in inches.
        name: of its identifiers, unique on the page.
        alt: what it shows, for those who cannot see it.
        caption: below it.
    """

    def draw(figure: Figure) -> None:
        plot(figure if layout is None else figure.subplots(*layout))

    return Drawing(page_svg(draw, size, name, alt), caption)


ONE, TWO = (1, 1), (1, 2)


def _curves(family: FamilyResult, anchor: str) -> Iterator[Drawing]:
    captions = {
        "labels": "How well the task is done by how many answers were given",
        "steps": "The same by how long the agent acted in the environment",
    }
    for resource, caption in captions.items():
        # One point by itself is no curve, and is told in words.
        if any(len(curve["mean"]) > 1 for _, curve in wording.curves(family, resource)):
            yield drawing(
                lambda axes: figures.draw_curves(axes, family, resource), ONE, CURVE,
                anchor + resource, wording.curve_text(family, resource), caption,
            )  # fmt: skip


def _more(family: FamilyResult, marked: Sequence[int], anchor: str) -> Iterator[Drawing]:
    scores = family.get("per_task")
    if scores:
        worst, best = wording.percent(min(scores)), wording.percent(max(scores))
        yield drawing(
            lambda axes: figures.draw_tasks(axes, family, marked), ONE, CURVE, f"{anchor}tasks",
            f"Normalised return of {len(scores)} held-out tasks, from {worst} to {best}.",
            f"Every held-out task{'; ringed: those drawn above' if marked else ''}",
        )  # fmt: skip
    training = family.get("meta_training")
    if training and (training.get("return") or training.get("accuracy_hard")):
        yield drawing(
            lambda axes: figures.draw_meta_training(axes, training), ONE, CURVE, f"{anchor}meta",
            wording.training_text(training),
            "Meta-training, on tasks other than these: what agents earn once taught, and how often "
            "their reward agrees with the teacher on hard pairs",
        )  # fmt: skip


def _example(
    family: FamilyResult, pictures: FamilyPictures, example: Example, name: str
) -> ShownExample:
    standing = wording.standing(family, example.number)
    titles = ("before", f"after {wording.answers(family)}")
    drawings = [
        drawing(
            lambda pair: figures.draw_before_after(
                pair, pictures.family, example.task, example.before, example.after, titles
            ),
            TWO, PAIR, name,
            f"What the agent does before and after {wording.answers(family)} ({standing}).",
            standing[0].upper() + standing[1:],
        )
    ]  # fmt: skip
    maps = example.maps
    if maps is not None:
        drawings.append(
            drawing(
                lambda pair: figures.draw_maps(pair, maps), TWO, PAIR, f"{name}m",
                f"True and learned reward over {' and '.join(maps.names)} ({standing}).",
                "What the true reward pays for, and what the answers taught the agent to want; "
                "brighter is better, each on its own scale",
            )
        )  # fmt: skip
    questions = [
        _question(pictures, example, question, i, f"{name}q{i}")
        for i, question in enumerate(example.questions, 1)
    ]
    return ShownExample(drawings, questions)


def _question(
    pictures: FamilyPictures, example: Example, question: Question | Mark, count: int, name: str
) -> Drawing:
    answer, layout = wording.answer(question), (TWO, CLIPS)
    if isinstance(question, Mark):
        layout = (ONE, CLIP)
    return drawing(
        lambda axes: figures.draw_question(axes, pictures.family, example.task, question),
        *layout, name, f"Question {count}. The answer: {answer}.", f"{count}. {answer}",
    )  # fmt: skip
