"""Trajectories as pictures, one way of drawing per task family.

Colours come from Matplotlib's settings (`rcParams`): the agent is the first of the colour cycle,
the hidden target the second, all else the text's colour, so that light and dark styles both work.
Time runs from faint to full.

A family of your own is drawn as its observations over time until you teach `draw` better:

    @draw.register(MyFamily)
    def draw_my_family(family, axes, obs, task): ...
"""

import itertools
from collections.abc import Iterator
from functools import singledispatch
from typing import Any

import numpy as np

from metarlhf.envs.base import TaskFamily
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.navigation import Hazard, Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher
from metarlhf.types import Task

# `matplotlib.axes.Axes`, which is imported only where it is used: training never draws.
Axes = Any

AGENT, TARGET = "C0", "C1"
POSES = 9
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
# Points from the axes down to below their ticks and label.
KEY = 36


def draw_trajectory(axes: Axes, family: TaskFamily, obs: Any, task: Task | None = None) -> None:
    """Draw the observations [time, obs] of one episode or clip into `axes`.

    With a `task`, its hidden target is shown too.
    """
    obs = np.asarray(obs)
    if obs.ndim != 2 or obs.shape[1] != family.observation_space.size or not len(obs):
        raise ValueError(
            f"obs has shape {obs.shape}; expected one trajectory of {family.name}, "
            f"(time, {family.observation_space.size}), of at least one step"
        )
    draw(family, axes, obs, task)


@singledispatch
def draw(family: TaskFamily, axes: Axes, obs: np.ndarray, task: Task | None) -> None:
    """How a family draws; dispatched on the family's class. Without any: its observations."""
    for look, name, values in zip(looks(), family.observation_space.names, obs.T, strict=False):
        axes.plot(values, label=name, **look)
    axes.set_xlabel("step")
    _key_below(axes)


@draw.register(Navigation)
def draw_navigation(family: Navigation, axes: Axes, obs: np.ndarray, task: Task | None) -> None:
    """The path from a ring to a dot, the goal as a star, and where goals may be."""
    _outline(axes, _possible_goals(family))
    if task is not None:
        goal = np.asarray(task)
        if family.sparse:
            turn = np.linspace(0, 2 * np.pi, 60)[:, None]
            ring = goal + 0.2 * np.hstack([np.cos(turn), np.sin(turn)])
            axes.plot(*ring.T, color=TARGET, linewidth=1)
        _target(axes, goal)
    _path(axes, obs)
    axes.plot(*obs[0], "o", color=AGENT, markerfacecolor="none", markersize=5)
    axes.plot(*obs[-1], "o", color=AGENT, markersize=5)
    _square(axes)


@draw.register(Hazard)
def draw_hazard(family: Hazard, axes: Axes, obs: np.ndarray, task: Task | None) -> None:
    """The same, with what is forbidden as a dashed ring."""
    if task is None:
        return draw_navigation(family, axes, obs, None)
    goal, centre = np.split(np.asarray(task), 2)
    ring = centre + family.radius * _circle(1.0)
    axes.plot(*ring.T, color=TARGET, linewidth=1, linestyle="--")
    draw_navigation(family, axes, obs, goal)


@draw.register(Reacher)
def draw_reacher(family: Reacher, axes: Axes, obs: np.ndarray, task: Task | None) -> None:
    """A few of the arm's poses, the fingertip's path, the target as a star, and the arm's reach."""
    length, tip = family.link_length, obs[:, 6:8]
    _outline(axes, _circle(2 * length))
    elbow = length * obs[:, :2]
    arms = np.stack([np.zeros_like(elbow), elbow, tip], axis=1)
    poses = _spread(obs[:, [0, 1, 6, 7]])
    _path(axes, tip, linewidth=1.0)
    for arm, alpha in zip(arms[poses], _fade(len(poses)), strict=True):
        axes.plot(*arm.T, "-o", color=_ink(), alpha=0.45 * alpha, linewidth=2, markersize=2.5)
    axes.plot(*arms[-1].T, "-o", color=_ink(), linewidth=2.5, markersize=4)
    axes.plot(*tip[-1], "o", color=AGENT, markersize=5, zorder=4)
    if task is not None:
        _target(axes, np.asarray(task))
    _square(axes)


@draw.register(Pendulum)
def draw_pendulum(family: Pendulum, axes: Axes, obs: np.ndarray, task: Task | None) -> None:
    """A few of the rod's poses, upright at the top, and the angle to hold."""
    # theta = 0 is up and grows counter-clockwise, as in Gymnasium's rendering.
    tip = np.stack([-obs[:, 1], obs[:, 0]], axis=1)
    _outline(axes, _circle(1.0))
    if task is not None:
        goal = np.array([-np.sin(float(task)), np.cos(float(task))])
        axes.plot(*np.stack([0 * goal, goal]).T, "--", color=TARGET, linewidth=1)
        _target(axes, goal)
    poses = _spread(tip)
    for end, alpha in zip(tip[poses], _fade(len(poses)), strict=True):
        axes.plot(*np.stack([0 * end, end]).T, color=_ink(), alpha=0.45 * alpha, linewidth=2)
    _path(axes, tip, linewidth=1.0)
    axes.plot(*np.stack([0 * tip[-1], tip[-1]]).T, color=_ink(), linewidth=2.5)
    axes.plot(0, 0, "o", color=_ink(), markersize=4)
    axes.plot(*tip[-1], "o", color=AGENT, markersize=5)
    _square(axes)


@draw.register(CartPole)
def draw_cartpole(family: CartPole, axes: Axes, obs: np.ndarray, task: Task | None) -> None:
    """Pole angle and cart position over time, both as a fraction of what ends the episode."""
    axes.axhspan(-1, 1, color=_ink(), alpha=0.06, linewidth=0)
    axes.plot(obs[:, 2] / family.max_angle, color=AGENT, label="pole angle")
    axes.plot(obs[:, 0] / family.max_position, color=TARGET, label="cart position")
    axes.set_ylim(-1.2, 1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("fraction of the limit")
    _key_below(axes)


def looks() -> Iterator[dict[str, Any]]:
    """Lines that can be told from one another: three colours, each in four dashes, then fainter.

    No more colours, so that each follows a page in light and in dark.
    """
    for alpha in itertools.chain([1.0], itertools.repeat(0.45)):
        for dash, colour in itertools.product(DASHES, (AGENT, TARGET, _ink())):
            yield {"color": colour, "linestyle": dash, "alpha": alpha}


def _key_below(axes: Axes) -> None:
    """Which line is which, below the axes and their label, where it covers nothing."""
    from matplotlib.transforms import ScaledTranslation

    below = ScaledTranslation(0, -KEY / 72, axes.figure.dpi_scale_trans)
    axes.legend(
        fontsize="small", loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=0, ncols=3,
        bbox_transform=axes.transAxes + below, frameon=False, columnspacing=1.2,
    )  # fmt: skip


def _possible_goals(family: Navigation) -> np.ndarray:
    """The outline of where the goal may be."""
    if family.sparse:
        return _circle(1.0, half=True)
    if isinstance(family, Hazard):
        return _circle(family.farthest)
    return 0.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])


def _circle(radius: float, half: bool = False) -> np.ndarray:
    turn = np.linspace(0, np.pi if half else 2 * np.pi, 100)
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _spread(points: np.ndarray) -> np.ndarray:
    """Indices of a few poses, evenly far from one another rather than evenly in time.

    An agent that moves for a second and then holds still is seen moving.
    """
    moved = np.linalg.norm(np.diff(points, axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(moved)])
    return np.unique(np.searchsorted(travelled, np.linspace(0, travelled[-1], POSES)))


def _fade(count: int) -> np.ndarray:
    return np.linspace(0.3, 1.0, count)


def _ink() -> Any:
    """The colour of text, which is legible on the background whatever that is."""
    import matplotlib as mpl

    return mpl.rcParams["text.color"]


def _outline(axes: Axes, points: np.ndarray) -> None:
    axes.plot(*points.T, color=_ink(), alpha=0.4, linewidth=0.8)


def _path(axes: Axes, points: np.ndarray, linewidth: float = 1.8) -> None:
    """A line through the points that grows from faint to full."""
    from matplotlib.collections import LineCollection

    if len(points) < 2:
        return
    pairs = np.stack([points[:-1], points[1:]], axis=1)
    axes.add_collection(
        LineCollection(list(pairs), colors=AGENT, alpha=_fade(len(pairs)), linewidths=linewidth)
    )


def _target(axes: Axes, at: np.ndarray) -> None:
    # Below what moves, which is smaller.
    axes.plot(
        *at, "*", color=TARGET, markersize=17, markeredgecolor=_ink(), markeredgewidth=0.6,
        zorder=1.9,
    )  # fmt: skip


def _square(axes: Axes) -> None:
    """Equal scales, as wide as high, no ticks: what counts is where things are to one another."""
    axes.autoscale_view()
    limits = np.array([axes.get_xlim(), axes.get_ylim()])
    centre, half = limits.mean(1), 0.54 * np.diff(limits).max()
    axes.set(xlim=centre[0] + np.array([-half, half]), ylim=centre[1] + np.array([-half, half]))
    axes.set_aspect("equal", adjustable="box")
    axes.set_xticks([])
    axes.set_yticks([])
