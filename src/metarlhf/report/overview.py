"""One wide picture of a whole result, for a README."""

from functools import partial
from pathlib import Path

from matplotlib.figure import Figure, FigureBase

from metarlhf.files import write_bytes
from metarlhf.report.figures import draw_before_after, draw_curves
from metarlhf.report.schema import FamilyPictures, FamilyResult, Pictures, Results, checked
from metarlhf.report.style import LIGHT, Palette, picture
from metarlhf.report.wording import answers, curves, headline, percent

COLUMN, HEIGHT = 4.3, 5.4
# So many lines can be named below a small drawing.
NAMED = 6


def write_picture(
    path: Path, results: Results, pictures: Pictures, palette: Palette = LIGHT
) -> Path:
    """Write the overview as .svg or .png, whole or not at all.

    Raises:
        ValueError: another suffix, or results that `schema.checked` refuses.
    """
    checked(results)
    size = (COLUMN * max(2, len(results["families"])), HEIGHT)
    draw = partial(draw_overview, results=results, pictures=pictures)
    write_bytes(path, picture(draw, size, path.suffix, palette))
    return path


def draw_overview(figure: Figure, results: Results, pictures: Pictures) -> None:
    """A column for each family: a task before and after, and what that took beside scratch."""
    figure.suptitle(headline(results), fontsize=15, fontweight="bold", x=0.01, ha="left")
    columns = figure.subfigures(1, len(results["families"]), squeeze=False, wspace=0.03)[0]
    for column, family in zip(columns, results["families"], strict=True):
        _draw_column(column, family, pictures.get(family["family"]))


def _draw_column(figure: FigureBase, family: FamilyResult, pictures: FamilyPictures | None) -> None:
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.15)).ravel()
    mean = percent(family["normalised_return"]["mean"])
    top.suptitle(f"{family['family']}: {mean}", fontweight="bold", parse_math=False)
    if pictures and pictures.examples:
        example = pictures.examples[0]
        titles = ("before", f"after {answers(family)}")
        pair = top.subplots(1, 2)
        draw_before_after(
            pair, pictures.family, example.task, example.before, example.after, titles
        )
        lines = pair[0].get_legend_handles_labels()
        if 0 < len(lines[0]) <= NAMED:
            top.legend(*lines, loc="outside lower left", ncols=3, columnspacing=1.2)
    if curves(family, "labels"):
        draw_curves(bottom.subplots(), family, "labels")
