"""Trajectories as vector scenes: a few kB of JSON that a browser's canvas plays crisply.

A scene says what stands still, what each step shows, and what a person who cannot see it is told.
Coordinates are the family's own, y upwards; colours are roles, for which a page has its own:
"agent", "ink" for what it is made of, "faint" for what is only there for orientation.

A family of your own is shown as a bar for each of its observations until you teach `scene_of`
better:

    @scene_of.register(MyFamily)
    def my_scene(family, obs): return Scene(...)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from metarlhf.envs.base import Shown
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.navigation import Hazard, Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher

Shape = dict[str, Any]
# Steps shown in a second: slow enough to see what happens in a clip of ten.
RATE = 10.0


@dataclass(frozen=True)
class Scene:
    """What a page draws.

    Attributes:
        view: left, right, bottom and top of what is seen.
        still: shapes that every step has.
        frames: the shapes of each step.
        words: in a sentence, what happens, for whom no picture is.
        track: where a point is at each step, which is drawn as far as it has come.
        rate: steps a second.
    """

    view: tuple[float, float, float, float]
    still: Sequence[Shape]
    frames: Sequence[Sequence[Shape]]
    words: str
    track: Sequence[Sequence[float]] = ()
    rate: float = RATE


def line(points: Any, role: str, width: float = 2.0) -> Shape:
    """A line through `points` [count, 2]; `width` in pixels."""
    return {"kind": "line", "points": _numbers(points), "role": role, "width": width}


def dot(at: Any, role: str, radius: float = 5.0) -> Shape:
    """A filled circle; `radius` in pixels."""
    return {"kind": "dot", "at": _numbers(at), "role": role, "radius": radius}


def box(left: float, bottom: float, right: float, top: float, role: str) -> Shape:
    """A filled rectangle."""
    return {"kind": "box", "corners": _numbers([left, bottom, right, top]), "role": role}


def label(at: Any, text: str) -> Shape:
    """Small text that begins at a point."""
    return {"kind": "text", "at": _numbers(at), "text": text, "role": "ink"}


def scene(family: Shown, obs: Any) -> dict[str, Any]:
    """The scene of one clip's observations [time, obs], as JSON takes it.

    Raises:
        ValueError: `obs` is no such clip.
    """
    obs = np.asarray(obs, float)
    if obs.ndim != 2 or obs.shape[1] != family.observation_space.size or not len(obs):
        raise ValueError(
            f"obs has shape {obs.shape}; expected one clip of {family.name}, "
            f"(time, {family.observation_space.size}), of at least one step"
        )
    return {"steps": len(obs), **asdict(scene_of(family, obs))}


@singledispatch
def scene_of(family: Shown, obs: np.ndarray) -> Scene:
    """How a family is shown; dispatched on its class. Without any: a bar for each observation."""
    names, reach = family.observation_space.names, np.maximum(np.abs(obs).max(0), 1e-6)
    count = len(names)
    still: list[Shape] = [line([[0, -0.5], [0, count - 0.5]], "faint", 1.0)]
    still += [label([-1.0, i + 0.32], name) for i, name in enumerate(names)]
    frames = [
        [box(min(0.0, v), i - 0.2, max(0.0, v), i + 0.15, "agent") for i, v in enumerate(row)]
        for row in obs / reach
    ]
    first, last = obs[0].round(2), obs[-1].round(2)
    told = [f"{n} from {a} to {b}" for n, a, b in zip(names, first, last, strict=True)]
    return Scene((-1.1, 1.1, -0.7, count - 0.3), still, frames, "; ".join(told))


@scene_of.register(Navigation)
def navigation_scene(family: Navigation, obs: np.ndarray) -> Scene:
    """A point, its track, the start, and where goals may be."""
    wide = family.farthest if isinstance(family, Hazard) else 0.5
    side = 1.2 if family.sparse else 0.1 + wide
    reach = max(side, 1.08 * float(np.abs(obs).max()))
    square = 0.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    if family.sparse or isinstance(family, Hazard):
        square = _circle(1.0 if family.sparse else wide)
    still = [
        line(square, "faint", 1.0),
        line([[-reach, 0], [reach, 0]], "grid", 1.0),
        line([[0, -reach], [0, reach]], "grid", 1.0),
    ]
    frames = [[dot(at, "agent", 7.0)] for at in obs]
    words = f"The point goes {_path(obs)}."
    return Scene((-reach, reach, -reach, reach), still, frames, words, _numbers(obs))


@scene_of.register(Reacher)
def reacher_scene(family: Reacher, obs: np.ndarray) -> Scene:
    """The arm, its fingertip's track, and how far it reaches."""
    elbow, tip = family.link_length * obs[:, :2], obs[:, 6:8]
    reach = 2 * family.link_length
    frames = [
        [
            line([[0, 0], elbow[t], tip[t]], "ink", 5.0),
            dot([0, 0], "ink", 5.0),
            dot(elbow[t], "ink", 4.0),
            dot(tip[t], "agent", 7.0),
        ]
        for t in range(len(obs))
    ]
    view = 1.08 * reach
    words = f"The fingertip goes {_path(tip)}."
    still = [line(_circle(reach), "faint", 1.0)]
    return Scene((-view, view, -view, view), still, frames, words, _numbers(tip))


@scene_of.register(Pendulum)
def pendulum_scene(family: Pendulum, obs: np.ndarray) -> Scene:
    """The rod, upright at the top, and its tip's track."""
    tip = np.stack([-obs[:, 1], obs[:, 0]], axis=1)
    angle = np.rad2deg(np.arctan2(obs[:, 1], obs[:, 0]))
    frames = [
        [
            line([[0, 0], tip[t]], "ink", 6.0),
            dot([0, 0], "ink", 5.0),
            dot(tip[t], "agent", 8.0),
        ]
        for t in range(len(obs))
    ]
    words = (
        f"The rod goes from {angle[0]:.0f} to {angle[-1]:.0f} degrees, upright being 0 and "
        "left of it above that."
    )
    still = [line(_circle(1.0), "faint", 1.0)]
    return Scene((-1.2, 1.2, -1.2, 1.2), still, frames, words, _numbers(tip))


@scene_of.register(CartPole)
def cartpole_scene(family: CartPole, obs: np.ndarray) -> Scene:
    """The cart on its track, and the pole on the cart."""
    reach, long = family.max_position, 1.0
    frames = []
    for x, _, angle, _ in obs:
        top = [x + long * np.sin(angle), 0.15 + long * np.cos(angle)]
        frames.append(
            [
                box(x - 0.25, -0.12, x + 0.25, 0.12, "ink"),
                line([[x, 0.12], top], "agent", 6.0),
            ]
        )
    still = [
        line([[-reach, -0.14], [reach, -0.14]], "faint", 2.0),
        line([[-reach, -0.3], [-reach, 0.3]], "faint", 2.0),
        line([[reach, -0.3], [reach, 0.3]], "faint", 2.0),
    ]
    words = (
        f"The cart goes from {obs[0, 0]:.2f} to {obs[-1, 0]:.2f} m, its pole from "
        f"{np.rad2deg(obs[0, 2]):.0f} to {np.rad2deg(obs[-1, 2]):.0f} degrees."
    )
    return Scene((-1.1 * reach, 1.1 * reach, -1.6, 2.4), still, frames, words)


def _circle(radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 73)
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _path(points: np.ndarray) -> str:
    """Beginning and end of a track, and how long it is, in words."""
    (x, y), (to_x, to_y) = points[0], points[-1]
    length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    return f"from ({x:.2f}, {y:.2f}) to ({to_x:.2f}, {to_y:.2f}), {length:.2f} long"


def _numbers(values: Any) -> list:
    """As JSON takes them; four digits are less than a pixel."""
    return np.round(np.asarray(values, float), 4).tolist()
