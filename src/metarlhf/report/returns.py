"""Return after each gradient step, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from metarlhf.envs.drawing import AGENT, TARGET
from metarlhf.files import write_bytes
from metarlhf.report.figures import draw_level, ink, key_above
from metarlhf.report.schema import Interval
from metarlhf.report.style import picture

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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("gradient steps")
    axes.set_ylabel("return")
    axes.grid(axis="y")
    key_above(axes)


def write_returns(
    path: Path,
    curves: Mapping[str, Sequence[Interval]],
    levels: Mapping[str, float] | None = None,
) -> Path:
    """`draw_returns` into a file.

    `path` ends in .svg or .png; a failure leaves what was there before.
    """
    draw = lambda figure: draw_returns(figure.subplots(), curves, levels or {})
    write_bytes(path, picture(draw, SIZE, path.suffix))
    return path
