"""What each lineage's tasks are exactly, by name.

- `finn2017`: Finn et al. 2017, "Model-Agnostic Meta-Learning", and the authors' code.
- `promp2018`: Rothfuss et al. 2019, "ProMP", and the authors' code; the bodies that vary are of its
  companion. Its policies act in [-10, 10], which a wrapper maps onto the simulators' [-1, 1]: at
  the same standard deviation exploration is a tenth of the others'.
- `pearl2019`: Rakelly et al. 2019, "PEARL", and the authors' code.
"""

from functools import partial
from typing import Any

from metarlhf.envs.mujoco_tasks import goals
from metarlhf.envs.mujoco_tasks.bodies import Body
from metarlhf.envs.mujoco_tasks.family import MujocoFamily
from metarlhf.envs.mujoco_tasks.runners import Rules, Runner

CONTACT = 0.5e-3
SPEED, WAY, PLACE = "speed ahead (1 number)", "direction (2 numbers)", "place (2 numbers)"
FORTH_OR_BACK = "ahead or back"

_finn_cheetah = partial(
    Rules,
    "half_cheetah",
    control_cost=0.05,
    sees=("pose", "velocities", "mass centre"),
    by_mass=True,
    start_position="near",
)
_finn_ant = partial(
    Rules,
    "ant",
    control_cost=0.5e-2,
    contact_cost=CONTACT,
    sees=("place", "velocities", "contacts", "rotation", "mass centre"),
    healthy=(0.2, 1.0),
    by_mass=True,
    start_position="near",
)
_cheetah = partial(Rules, "half_cheetah", control_cost=0.05, sees=("pose", "velocities"))
_way = partial(Rules, "ant", "direction", control_cost=0.5, contact_cost=CONTACT, bonus=1.0)
_place = Rules("ant", "place", 0.1, sees=("place", "velocities", "contacts"), contact_cost=CONTACT)
_to_2, _to_3 = partial(goals.velocity, fastest=2.0), partial(goals.velocity, fastest=3.0)

# What varies, how it is drawn, and the rules.
RUNNERS: dict[str, tuple[str, Any, Rules]] = {
    "finn2017/HalfCheetahVel": (SPEED, _to_2, _finn_cheetah("velocity")),
    "finn2017/HalfCheetahDir": (FORTH_OR_BACK, goals.forward_or_back, _finn_cheetah("direction")),
    "finn2017/AntVel": (SPEED, _to_3, _finn_ant("velocity", bonus=1.05)),
    "finn2017/AntDir": (FORTH_OR_BACK, goals.forward_or_back, _finn_ant("direction", bonus=0.05)),
    "finn2017/AntGoal": (PLACE, goals.in_square, _finn_ant("place", bonus=4.05)),
    "promp2018/HalfCheetahVel": (SPEED, _to_3, _cheetah("velocity")),
    "promp2018/HalfCheetahDir": (FORTH_OR_BACK, goals.forward_or_back, _cheetah("direction")),
    "promp2018/AntDir": (
        FORTH_OR_BACK,
        goals.forward_or_back,
        _way(sees=("pose", "velocities", "contacts"), healthy=(0.0, 1.0)),
    ),
    "promp2018/AntGoal": (PLACE, goals.in_disc, _place),
    "pearl2019/HalfCheetahVel": (SPEED, _to_3, _cheetah("velocity")),
    "pearl2019/HalfCheetahDir": (FORTH_OR_BACK, goals.forward_or_back, _cheetah("direction")),
    "pearl2019/AntDir": (
        WAY,
        goals.any_direction,
        _way(sees=("pose", "velocities"), healthy=(0.2, 1.0)),
    ),
    "pearl2019/AntGoal": (PLACE, goals.in_disc, _place),
}
# Bodies, degrees of freedom and shapes of each robot, as MuJoCo counts them.
BODIES: dict[str, tuple[str, tuple[int, int, int]]] = {
    "promp2018/Walker2DRandParams": ("walker2d", (8, 9, 8)),
    "promp2018/HopperRandParams": ("hopper", (5, 6, 5)),
    "pearl2019/Walker2DRandParams": ("walker2d", (8, 9, 8)),
    "pearl2019/HopperRandParams": ("hopper", (5, 6, 5)),
}


def family(name: str) -> MujocoFamily:
    """The family of this name."""
    horizon = 100 if name == "promp2018/HalfCheetahDir" else 200
    reach = 10.0 if name.startswith("promp2018/") else 1.0
    if name in RUNNERS:
        varies, draw, rules = RUNNERS[name]
        return MujocoFamily(name, varies, draw, Runner, rules, horizon, reach)
    robot, counts = BODIES[name]
    varies = f"the {robot}'s mass, inertia, damping and friction"
    draw = partial(
        goals.multipliers, **dict(zip(("bodies", "joints", "shapes"), counts, strict=True))
    )
    return MujocoFamily(name, varies, draw, Body, robot, horizon, reach)
