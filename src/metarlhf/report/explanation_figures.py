"""The figures of an explanation: each draws one thing into axes it is given."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from metarlhf.envs.drawing import AGENT, TARGET
from metarlhf.explain import Calibration, ExplainedAnswer, Explanation, Feature, Map, ShapeFunction
from metarlhf.explain.additive import refine
from metarlhf.report.figures import Row
from metarlhf.report.style import Axes, ink, integer_ticks, percent_ticks

# Of what is drawn as pixels, which do not follow the page's colours: legible on light and dark.
LESS, MORE = "#d9702b", "#2f7fd6"
# Of each of the two.
SHADES = 128
# So many answers can be told from one another in a figure.
FEW = 60
TITLES = {"before": "before", "after": "after", "true": "true reward"}


def importance_order(found: Explanation, most: int = 12) -> np.ndarray:
    """The features that count most after the answers, by number, the most important first."""
    return np.argsort(-found.importance["after"].gradients, kind="stable")[:most]


def draw_importance(axes: Axes, found: Explanation) -> None:
    """A bar for each feature by gradients, a thinner one by permutation; a mark for the truth."""
    order, after = importance_order(found)[::-1], found.importance["after"]
    place = np.arange(len(order))
    axes.barh(place + 0.15, after.gradients[order], 0.4, color=AGENT, label="learned, by gradients")
    axes.barh(
        place - 0.22, after.permutation[order], 0.2, color=AGENT, alpha=0.45,
        label="learned, by permutation",
    )  # fmt: skip
    if "true" in found.importance:
        true = found.importance["true"].gradients[order]
        # On top of all else, also of the axis where it is nothing.
        axes.plot(
            true, place + 0.15, "D", color=TARGET, markersize=5, label="true reward", ls="",
            zorder=5, clip_on=False,
        )  # fmt: skip
    axes.set_yticks(place, [found.features[i].name for i in order])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, None)
    percent_ticks(axes.xaxis)
    axes.grid(axis="x")
    axes.figure.legend(loc="outside upper left", ncols=2, columnspacing=1.2)


def draw_episode(pair: Row, found: Explanation) -> None:
    """Above what each step is paid, below what for: a row for each feature."""
    episode, order = found.episode, importance_order(found, 8)
    above, below = pair
    above.plot(episode.reward, color=ink(), linewidth=1.2)
    above.axhline(0, color=ink(), linewidth=0.6, alpha=0.4)
    above.set_ylabel("reward")
    above.set_xlim(-0.5, len(episode.reward) - 0.5)
    above.set_xticklabels([])
    parts = episode.parts[:, order].T
    most = max(float(np.abs(parts).max()), 1e-6)
    image = below.imshow(
        parts, aspect="auto", cmap=parts_colours(), vmin=-most, vmax=most, interpolation="nearest"
    )
    below.set_yticks(range(len(order)), [found.features[i].name for i in order])
    below.tick_params(axis="y", length=0)
    below.set_xlabel("step")
    below.figure.colorbar(image, ax=below, shrink=0.9, label="part of the reward")


def parts_colours() -> Any:
    """From what takes over nothing to what adds: see-through at 0 alone, on light and on dark.

    A part of a tenth is a quarter as strong as the largest: what is small is still seen.
    """
    from matplotlib.colors import ListedColormap

    value = np.linspace(-1.0, 1.0, 2 * SHADES + 1)
    colours = np.array([(*_rgb(LESS if v < 0 else MORE), abs(v) ** 0.6) for v in value])
    return ListedColormap(colours)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def draw_map(panels: Row, found: Map) -> None:
    """The rewards and how sure the belief is, with how often places were seen drawn over it.

    Where there is a third row it has the true reward and what is forbidden, as far as they are
    known, and otherwise how often places were seen.
    """
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import LogLocator

    rewards, spread = found.rewards, found.disagreement
    learned = np.concatenate([values.ravel() for values in rewards.values()])
    low, high = np.nanquantile(learned, [0.02, 0.98])
    unsure = np.concatenate([values.ravel() for values in spread.values()])
    least, most = (max(float(x), 1e-4) for x in np.nanquantile(unsure, [0.02, 0.98]))
    first = panels.ravel()
    for axes, name in zip(first[:2], ("before", "after"), strict=True):
        image = _pixels(axes, found, rewards[name], "viridis", Normalize(low, high))
        axes.set_title(f"reward {TITLES[name]}")
    for axes, name in zip(first[2:4], ("before", "after"), strict=True):
        disagreement = _pixels(
            axes, found, np.maximum(spread[name], least), "plasma",
            LogNorm(least, max(most, 1.01 * least)),
        )  # fmt: skip
        axes.set_title(f"unsure {TITLES[name]}")
    figure = first[0].figure
    figure.colorbar(image, ax=first[:2], shrink=0.9, label="reward")
    # Few numbers, and plain ones: a bar is two fingers high on a phone.
    figure.colorbar(
        disagreement, ax=first[2:4], shrink=0.9, format="{x:g}", label="disagreement",
        ticks=LogLocator(subs=(1.0, 3.0)),
    ).minorticks_off()  # fmt: skip
    beside: list[tuple[str, np.ndarray, str, Any]] = [
        ("how often seen", found.density, "cividis", Normalize(0, 1))
    ]
    if found.forbidden is not None:
        beside.insert(0, ("forbidden", found.forbidden, "YlOrRd", Normalize(0, 1)))
    if "true" in rewards:
        beside.insert(0, ("true reward", rewards["true"], "viridis", Normalize(low, high)))
    for axes, (title, values, colours, scale) in zip(first[4:], beside, strict=False):
        lines = values is not found.density
        figure.colorbar(_pixels(axes, found, values, colours, scale, lines), ax=axes, shrink=0.9)
        axes.set_title(title)
    across, up = found.features
    for row, pair in enumerate(panels):
        pair[0].set_ylabel(up.label)
        pair[1].set_yticklabels([])
        for axes in pair:
            axes.set_xlabel(across.label if row == len(panels) - 1 else "")
            if row < len(panels) - 1:
                axes.set_xticklabels([])


def _pixels(
    axes: Axes, found: Map, values: np.ndarray, colours: str, scale: Any, lines: bool = True
) -> Any:
    """Values as colours, blank where nothing was seen, and around most of what was a line."""
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MaxNLocator

    image = axes.imshow(
        np.ma.masked_invalid(np.where(np.isnan(found.rewards["after"]), np.nan, values)),
        extent=found.extent, origin="lower", aspect="auto", cmap=colours, norm=scale,
        interpolation="nearest",
    )  # fmt: skip
    if lines:
        drawn = axes.contour(
            found.density, levels=_levels(found.density), extent=found.extent, colors="white",
            linewidths=(0.7, 1.3),
        )  # fmt: skip
        drawn.set_path_effects([withStroke(linewidth=2.2, foreground="#00000090")])
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return image


def _levels(density: np.ndarray) -> list[float]:
    """Heights of the lines that hold 90 % and 50 % of what was seen."""
    falling = np.sort(density.ravel())[::-1]
    held = np.cumsum(falling) / falling.sum()
    outer, inner = (float(falling[np.searchsorted(held, share)]) for share in (0.9, 0.5))
    return [outer, max(inner, outer * 1.001)]


def draw_shape(axes: Axes, shape: ShapeFunction, limits: tuple[float, float]) -> None:
    """A curve over its feature, or a map over two; with ticks where steps are."""
    knots = [f.in_units(k) for f, k in zip(shape.features, shape.knots, strict=True)]
    first = shape.features[0]
    if len(shape.features) == 2:
        across, up, values = _between_knots(knots, shape)
        image = axes.pcolormesh(
            across, up, values.T, cmap="viridis", rasterized=True, vmin=limits[0], vmax=limits[1]
        )
        axes.figure.colorbar(image, ax=axes, label="part of the reward")
        axes.set_ylabel(shape.features[1].label)
        _ticks_where_steps_are(axes, shape)
    elif first.options:
        axes.bar(first.options, shape.values, color=AGENT)
    else:
        if shape.disagreement is not None:
            low, high = shape.values - shape.disagreement, shape.values + shape.disagreement
            axes.fill_between(knots[0], low, high, color=AGENT, alpha=0.2, lw=0)
        axes.plot(knots[0], shape.values, color=AGENT)
        _ticks_where_steps_are(axes, shape)
    if len(shape.features) == 1:
        axes.axhline(0, color=ink(), linewidth=0.6, alpha=0.4)
        axes.set_ylim(*limits)
        axes.grid(axis="y")
    axes.set_xlabel(first.label)


def _ticks_where_steps_are(axes: Axes, shape: ShapeFunction) -> None:
    """At every tenth of the steps, on the axis of each feature."""
    tick = {"color": ink(), "alpha": 0.5, "markersize": 7, "clip_on": False, "ls": ""}
    for feature, deciles, mark in zip(shape.features, shape.deciles, "|_", strict=False):
        where, edge = feature.in_units(deciles), np.zeros(len(deciles))
        place = (where, edge) if mark == "|" else (edge, where)
        along = axes.get_xaxis_transform() if mark == "|" else axes.get_yaxis_transform()
        axes.plot(*place, marker=mark, transform=along, **tick)


def _between_knots(
    knots: Sequence[np.ndarray], shape: ShapeFunction
) -> tuple[np.ndarray, np.ndarray, np.ma.MaskedArray]:
    """Edges of small cells and what a map is inside of each, masked where nothing was seen."""
    across, up = knots
    edges = [refine(own) for own in knots]
    inside = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
    rows = np.stack([np.interp(inside[0], across, row) for row in shape.values.T])
    values = np.stack([np.interp(inside[1], up, column) for column in rows.T])
    return (
        edges[0],
        edges[1],
        np.ma.masked_array(values, False if shape.observed is None else ~shape.observed),
    )


def shape_limits(shapes: Sequence[ShapeFunction]) -> tuple[float, float]:
    """One scale for all curves, so that what counts little looks little."""
    values = np.concatenate([shape.values.ravel() for shape in shapes] or [np.zeros(1)])
    low, high = float(values.min()), float(values.max())
    room = 0.06 * max(high - low, 1e-3)
    return low - room, high + room


def draw_beliefs(axes: Axes, answers: Sequence[ExplainedAnswer]) -> None:
    """How close to each answer the model's expectation was, before and after all of them."""
    number = np.array([one.number for one in answers])
    before = np.array([1 - one.error_before for one in answers])
    after = before + np.array([one.improvement for one in answers])
    if len(answers) <= FEW:
        axes.vlines(number, before, after, color=ink(), alpha=0.35, linewidth=1)
        axes.plot(number, before, "o", color=TARGET, markersize=6, label="before", mfc="none")
        axes.plot(number, after, "o", color=AGENT, markersize=6, label="after")
    else:  # Too many to be followed one by one: their mean over a tenth of them.
        window = len(answers) // 10
        middle = np.convolve(number, np.full(window, 1 / window), "valid")
        for values, colour, name in ((before, TARGET, "before"), (after, AGENT, "after")):
            axes.plot(number, values, "o", color=colour, markersize=2, alpha=0.4, mew=0)
            mean = np.convolve(values, np.full(window, 1 / window), "valid")
            axes.plot(middle, mean, color=colour, linewidth=2, label=name)
    axes.set_ylim(-0.03, 1.03)
    percent_ticks(axes.yaxis)
    integer_ticks(axes.xaxis)
    axes.set_xlabel("answer")
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, columnspacing=1.2)


def draw_reliability(axes: Axes, found: Calibration) -> None:
    """How often predictions come true that are so sure; as large as there are many of them."""
    axes.plot([0.5, 1], [0.5, 1], color=ink(), linewidth=0.8, alpha=0.5, linestyle="--")
    styles = {"before": (TARGET, "none"), "after": (AGENT, AGENT)}
    for name, diagram in found.diagrams.items():
        colour, fill = styles[name]
        held = diagram.weight > 0
        share = diagram.weight[held] / diagram.weight.sum()
        # As large as what they tell: of a few answers, right or wrong is next to nothing.
        axes.scatter(
            diagram.confidence[held], diagram.right[held], 5 + 300 * share, linewidths=1.2,
            edgecolors=colour, facecolors=fill, alpha=0.85, zorder=3, clip_on=False,
        )  # fmt: skip
        axes.plot([], [], "o", color=colour, mfc=fill, markersize=6, label=name)
    axes.set_xlim(0.49, 1.01)
    low = min(float(d.right[d.weight > 0].min()) for d in found.diagrams.values())
    axes.set_ylim(min(0.45, low - 0.04), 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        percent_ticks(axis)
    axes.set_xlabel("how sure the model was")
    axes.set_ylabel("how often it was right")
    axes.grid(axis="y")
    if len(found.diagrams) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, columnspacing=1.2)


def named(features: tuple[Feature, ...]) -> str:
    """In words: "x and y"."""
    return " and ".join(feature.name for feature in features)
