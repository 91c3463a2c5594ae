"""The figures of a report: each draws one thing into axes it is given, in the current style.

`write_picture` writes an overview of all results, `write_returns` returns by gradient steps.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from metarlhf.envs.drawing import AGENT, TARGET, draw_trajectory
from metarlhf.files import write_bytes
from metarlhf.report.schema import (
    Curve,
    FamilyPictures,
    FamilyResult,
    Interval,
    Mark,
    MetaTraining,
    Pictures,
    Question,
    Results,
    RewardMaps,
    checked,
)
from metarlhf.report.style import (
    LIGHT,
    Axes,
    Figure,
    Palette,
    ink,
    integer_ticks,
    percent_ticks,
    picture,
)
from metarlhf.report.wording import answers, curves, headline, number, percent, ratio

# What `Figure.subplots(1, 2)` gives: an array of two axes.
Row = np.ndarray
# Learning can do worse for a while than not learning: drawn down to here, and beyond that said.
LOWEST = -1.0
# Share of an axis that is left beyond what is drawn, so that no marker is cut.
EDGE = 0.025
RESOURCES = {"labels": "answers", "steps": "environment steps"}


def draw_curves(axes: Axes, family: FamilyResult, resource: str) -> None:
    """Normalised return by `resource` ("labels" or "steps", on a logarithmic axis with a zero).

    The prior's curve and the one from scratch with their 95 % bands, the true reward's level, what
    was asked for, and how far apart the two reach what the prior reached.
    """
    named = curves(family, resource)
    used = np.concatenate([np.asarray(curve[resource], float) for _, curve in named])
    _logarithmic_with_zero(axes, used)
    levels = [1.0, family.get("must")]
    for name, curve in named:
        colour = AGENT if name == "Meta-learned" else TARGET
        _band(axes, curve, resource, colour)
        axes.plot(
            curve[resource], curve["mean"], color=colour, label=name, marker="o", markersize=3.5
        )
    for level, text in zip(levels, ("true reward", "target"), strict=True):
        if level is not None:
            draw_level(axes, level, text, above=level == 1.0)
    _draw_saving(axes, family, resource)
    bottom = min(0.0, *(float(np.min(curve["low"])) for _, curve in named)) - 0.04
    axes.set_ylim(max(bottom, LOWEST), _top(named))
    _say_what_is_below(axes, named, resource)
    percent_ticks(axes.yaxis)
    axes.set_xlabel(RESOURCES[resource])
    axes.grid(axis="y")
    key_above(axes)


def key_above(axes: Axes) -> None:
    """Which curve is which, above the axes, where it covers none."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, columnspacing=1.2)


def _draw_saving(axes: Axes, family: FamilyResult, resource: str) -> None:
    """An arrow from where the prior got to where learning from scratch reached the same."""
    value = family.get(f"scratch_{resource}_ratio")
    used = family["labels"] if resource == "labels" else family.get("steps")
    prior = family.get("by_labels" if resource == "labels" else "prior_by_steps")
    scratch = family.get("scratch_by_labels" if resource == "labels" else "scratch_by_steps")
    if value is None or not used or value <= 1 or not prior or not scratch:
        return
    at_least = family.get(f"scratch_{resource}_at_least", False)
    height = family["normalised_return"]["mean"]
    arrow = {"arrowstyle": "->" if at_least else "<->", "color": ink(), "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (value * used, height), (used, height), arrowprops=arrow)
    axes.annotate(
        ratio(value, at_least),
        (used * value**0.5, height),
        (0, -4),
        textcoords="offset points",
        ha="center",
        va="top",
        fontweight="bold",
    )


def _say_what_is_below(axes: Axes, named: Sequence[tuple[str, Curve]], resource: str) -> None:
    """How far down a curve goes that leaves the axes, where it does."""
    for name, curve in named:
        mean = np.asarray(curve["mean"], float)
        if mean.min() < LOWEST:
            axes.annotate(
                f"\N{DOWNWARDS ARROW} {percent(float(mean.min()))}",
                (curve[resource][int(mean.argmin())], LOWEST),
                (0, 4),
                textcoords="offset points",
                ha="center",
                color=AGENT if name == "Meta-learned" else TARGET,
            )


def _top(named: Sequence[tuple[str, Curve]]) -> float:
    return max(1.12, *(float(np.max(curve["high"])) for _, curve in named)) + 0.02


def _band(axes: Axes, curve: Curve, resource: str, colour: str) -> None:
    axes.fill_between(curve[resource], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0)


def draw_level(axes: Axes, level: float, text: str, above: bool, left: bool = True) -> None:
    """A dotted line, named where it meets the left side, or the right."""
    axes.axhline(level, color=ink(), linewidth=0.9, linestyle=(0, (1, 2)), alpha=0.8)
    axes.annotate(
        text,
        (0 if left else 1, level),
        (3 if left else -3, 2 if above else -2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="left" if left else "right",
        va="bottom" if above else "top",
        fontsize="small",
        alpha=0.85,
    )


def _logarithmic_with_zero(axes: Axes, used: np.ndarray) -> None:
    """A logarithmic axis of counts that begins at zero: linear up to the smallest count."""
    least, most = used[used > 0].min(initial=1e9), used.max()
    if most <= 0:
        return
    axes.set_xscale("symlog", linthresh=least, linscale=0.5)
    lowest, highest = int(np.floor(np.log10(least))), int(np.ceil(np.log10(most)))
    # 1, 2, 5, 10, ... over few decades, powers of ten over many.
    factors = (1, 2, 5) if np.log10(most / least) < 2.3 else (1,)
    ticks = [f * 10**e for e in range(lowest, highest + 1) for f in factors]
    axes.set_xticks([0, *(t for t in ticks if least <= t <= most)])
    axes.xaxis.minorticks_off()
    axes.xaxis.set_major_formatter(lambda x, _: _short(float(x)))
    # What is drawn at zero is drawn whole: a little is left before it.
    decades = 0.5 + np.log10(1.15 * most / least)
    axes.set_xlim(-EDGE * decades / 0.5 * least, most * 1.15)


def _short(count: float) -> str:
    """20000 as 20k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{letter}"
    return f"{count:g}"


def draw_tasks(
    axes: Axes, family: FamilyResult, marked: Sequence[int] = (), level: str = "true reward"
) -> None:
    """Every held-out task from worst to best; those that are shown as pictures ringed.

    `level` is what 100 % is called.
    """
    scores = np.asarray(family.get("per_task"), float)
    order = np.argsort(scores, kind="stable")
    draw_level(axes, 1.0, level, above=True)
    axes.vlines(np.arange(len(scores)), 0, scores[order], color=AGENT, alpha=0.35, linewidth=1.5)
    axes.plot(scores[order], "o", color=AGENT, markersize=4)
    for position in np.flatnonzero(np.isin(order, list(marked))):
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": TARGET}
        axes.plot(position, scores[order[position]], "o", clip_on=False, **ring)
    low, high = min(0.0, scores.min()), max(1.0, scores.max())
    room = 0.08 * (high - low)
    axes.set_ylim(low - room, high + room)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(scores)} held-out tasks, worst to best")
    percent_ticks(axes.yaxis)
    axes.grid(axis="y")


def draw_meta_training(axes: Axes, training: MetaTraining) -> None:
    """Return of adapted policies over meta-training; the reward's accuracy on a second axis."""
    iteration = training.get("iteration", [])
    returns, accuracy = training.get("return"), training.get("accuracy_hard")
    axes.set_xlabel("iteration of meta-training")
    axes.grid(axis="y")
    if returns:
        axes.plot(iteration, _with_gaps(returns), color=AGENT)
        axes.set_ylabel("return", color=AGENT)
    if accuracy:
        right = axes.twinx() if returns else axes
        right.plot(iteration, _with_gaps(accuracy), color=TARGET)
        right.set_ylabel("reward's accuracy", color=TARGET)
        percent_ticks(right.yaxis)


def _with_gaps(values: Sequence[float | None]) -> np.ndarray:
    return np.asarray([np.nan if value is None else value for value in values], float)


def draw_before_after(
    pair: Row, family: Any, task: Any, before: Any, after: Any, titles: Sequence[str]
) -> None:
    """The same task on the same scale, before and after it was taught, into two axes."""
    for axes, obs, title in zip(pair, (before, after), titles, strict=True):
        draw_trajectory(axes, family, obs, task)
        axes.set_title(title)
        if not len(axes.get_xticks()):
            for spine in axes.spines.values():
                spine.set(visible=True, alpha=0.3)
    for axes in pair:  # what is what is said beside them, once for all
        if (legend := axes.get_legend()) is not None:
            legend.remove()
    pair[1].set_ylabel("")
    _same_view(pair)


def draw_question(axes: Any, family: Any, task: Any, question: Question | Mark) -> None:
    """What a teacher saw and said: two clips, the preferred one framed; or one clip and its mark.

    `axes` are two for two clips, and one for one.
    """
    if isinstance(question, Mark):
        draw_trajectory(axes, family, question.clip, task)
        _frame(axes, f"mark: {number(question.value)}", 0.5)
        return
    liked = question.preference
    for side, clip, share in zip(axes, question[:2], (1 - liked, liked), strict=True):
        draw_trajectory(side, family, clip, task)
        _frame(side, "equal" if share == 0.5 else "better" if share > 0.5 else "", share)
    _same_view(axes)


def _frame(axes: Axes, title: str, share: float) -> None:
    """A strong frame around what was liked, a faint one around what was not."""
    liked = share > 0.5
    axes.set_title(f"\N{CHECK MARK} {title}" if title == "better" else title, fontweight="bold")
    axes.set_xlabel("")
    axes.set_ylabel("")
    axes.set_xticks([])
    axes.set_yticks([])
    if (legend := axes.get_legend()) is not None:
        legend.remove()
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=1.0 if liked else 0.3, linewidth=2.5 if liked else 0.8)
        spine.set_edgecolor(AGENT if liked else ink())


def draw_maps(pair: Row, maps: RewardMaps) -> None:
    """The true and the learned reward over the same two observations, each on its own scale."""
    for axes, values, title in zip(pair, maps[:2], ("true reward", "learned reward"), strict=True):
        axes.imshow(
            np.asarray(values), extent=maps.extent, origin="lower", aspect="auto", cmap="viridis"
        )
        axes.set_title(title)
        axes.set_xlabel(maps.names[0])
    pair[0].set_ylabel(maps.names[1])
    pair[1].set_yticklabels([])


def _same_view(pair: Row) -> None:
    """What is drawn side by side is seen from the same place, square where the drawing is."""
    views = np.array([[axes.get_xlim(), axes.get_ylim()] for axes in pair])
    low, high = views[..., 0].min(0), views[..., 1].max(0)
    if pair[0].get_aspect() != "auto":
        half = (high - low).max() / 2
        low, high = (low + high) / 2 - half, (low + high) / 2 + half
    for axes in pair:
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))


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


def _draw_column(figure: Figure, family: FamilyResult, pictures: FamilyPictures | None) -> None:
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


SIZE = (4.6, 3.0)  # inches


def draw_returns(
    axes: Axes, curves: Mapping[str, Sequence[Interval]], levels: Mapping[str, float]
) -> None:
    """Mean returns after 0, 1, ... steps with their intervals, a curve for each name, and what
    others get as dotted lines with theirs.
    """
    for (name, curve), colour in zip(curves.items(), (AGENT, TARGET, ink()), strict=False):
        steps = range(len(curve))
        low, mean, high = ([one[end] for one in curve] for end in ("low", "mean", "high"))
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(steps, mean, color=colour, label=name, marker="o", markersize=3.5)
    top = max(levels.values(), default=0.0)
    for name, level in levels.items():
        draw_level(axes, level, name, above=level == top, left=False)
    axes.margins(y=0.1)
    integer_ticks(axes.xaxis)
    axes.set_xlabel("gradient steps")
    axes.set_ylabel("return")
    axes.grid(axis="y")
    key_above(axes)


def write_returns(
    path: Path,
    curves: Mapping[str, Sequence[Interval]],
    levels: Mapping[str, float] | None = None,
) -> Path:
    """Write `draw_returns` as .svg or .png, whole or not at all.

    Args:
        path: of the file.
        curves: means and intervals after 0, 1, ... steps, by name.
        levels: returns to compare with, by name.

    Raises:
        ValueError: another suffix.
    """
    draw = lambda figure: draw_returns(figure.subplots(), curves, levels or {})
    write_bytes(path, picture(draw, SIZE, path.suffix))
    return path
