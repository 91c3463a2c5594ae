"""What the signs in a drawing of a clip mean, in words: a legend beside many small drawings.

Drawn by `metarlhf.envs.drawing`, whose colours these are. Teach it a family of your own likewise:

    @signs.register(MyFamily)
    def signs_of_my_family(family): ...
"""

from functools import singledispatch
from typing import Literal, NamedTuple

from metarlhf.envs import TaskFamily
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.drawing import AGENT, DASHES, TARGET, looks
from metarlhf.envs.hazard import Hazard
from metarlhf.envs.navigation import Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher

# The dashes of `looks` as signs, and its colours as roles.
DASHED = ("\N{EM DASH}", "\N{EN DASH} \N{EN DASH}", "\N{MIDDLE DOT} \N{MIDDLE DOT} \N{MIDDLE DOT}",
          "\N{EN DASH} \N{MIDDLE DOT}")  # fmt: skip
ROLES: dict[str, Literal["first", "second"]] = {AGENT: "first", TARGET: "second"}


class Sign(NamedTuple):
    """A sign, the role of its colour on the page (`report.style.Palette`), and what it means."""

    sign: str
    colour: Literal["ink", "first", "second"]
    means: str
    of_task: bool = False
    """Drawn only where it is known what was wanted."""


@singledispatch
def signs(family: TaskFamily) -> tuple[Sign, ...]:
    """Those of a family's drawings; dispatched on its class, as drawing is."""
    dashed = dict(zip(DASHES, DASHED, strict=True))
    drawn = zip(looks(), family.observation_space.names, strict=False)
    return tuple(
        Sign(
            dashed[look["linestyle"]],
            ROLES.get(look["color"], "ink"),
            name if look["alpha"] == 1 else f"{name} (faint)",
        )
        for look, name in drawn
    )


@signs.register(Navigation)
def signs_of_navigation(family: Navigation) -> tuple[Sign, ...]:
    """A path, the goal, and where goals may be."""
    near = Sign("\N{WHITE CIRCLE}", "second", "as near to it as is paid", True)
    return (
        Sign("\N{WHITE CIRCLE}", "first", "where the clip begins"),
        Sign("\N{BLACK CIRCLE}", "first", "where it ends"),
        Sign("\N{BLACK STAR}", "second", "the goal, which no agent is told", True),
        *((near,) if family.sparse else ()),
        Sign("\N{EM DASH}", "ink", "where goals may be"),
    )


@signs.register(Hazard)
def signs_of_hazard(family: Hazard) -> tuple[Sign, ...]:
    """The same, and what is forbidden."""
    forbidden = Sign("\N{DOTTED CIRCLE}", "second", "where nobody may be", True)
    return (*signs_of_navigation(family), forbidden)


@signs.register(Reacher)
def signs_of_reacher(family: Reacher) -> tuple[Sign, ...]:
    """The arm, its fingertip and the target."""
    return (
        Sign("\N{BLACK CIRCLE}", "first", "the fingertip in the end, its path behind it"),
        Sign("\N{EM DASH}", "ink", "the arm, from faint to full, and the circle that it reaches"),
        Sign("\N{BLACK STAR}", "second", "the target, which no agent is told", True),
    )


@signs.register(Pendulum)
def signs_of_pendulum(family: Pendulum) -> tuple[Sign, ...]:
    """The rod, its tip and the angle to hold."""
    return (
        Sign("\N{BLACK CIRCLE}", "first", "the rod's tip in the end, its path behind it"),
        Sign("\N{EM DASH}", "ink", "the rod, from faint to full"),
        Sign("\N{BLACK STAR}", "second", "where to hold it, which no agent is told", True),
    )


@signs.register(CartPole)
def signs_of_cartpole(family: CartPole) -> tuple[Sign, ...]:
    """Two curves over time."""
    return (
        Sign("\N{EM DASH}", "first", "the pole's angle over time"),
        Sign("\N{EM DASH}", "second", "the cart's position; the band is as far as either may go"),
    )
