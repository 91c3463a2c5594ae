"""What tasks are drawn from: a task is an array, or a dictionary of arrays, drawn from a key.

A family of MuJoCo tasks: a distribution, and simulators that are told their task.

What each lineage's tasks are exactly, by name.

- `finn2017`: Finn et al. 2017, "Model-Agnostic Meta-Learning", and the authors' code.
- `promp2018`: Rothfuss et al. 2019, "ProMP", and the authors' code; the bodies that vary are of its
  companion. Its policies act in [-10, 10], which a wrapper maps onto the simulators' [-1, 1]: at
  the same standard deviation exploration is a tenth of the others'.
- `pearl2019`: Rakelly et al. 2019, "PEARL", and the authors' code.
"""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from gymnasium.wrappers import TimeLimit
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.adapters.gymnasium_spaces import action_space, observation_space
from metarlhf.envs.adapters.mujoco import Body, Rules, Runner
from metarlhf.envs.adapters.processes import AsyncEnvs
from metarlhf.envs.spaces import ActionSpace, Box, ObservationSpace
from metarlhf.types import Task

# Bounds of the exponents of `multipliers`, and their bases.
SPREAD = 3.0
BASES = {"mass": 1.5, "inertia": 1.5, "friction": 1.5, "damping": 1.3}


def velocity(key: PRNGKeyArray, fastest: float) -> Float[Array, ""]:
    """A speed ahead, U[0, fastest], in m/s."""
    return jax.random.uniform(key, maxval=fastest)


def forward_or_back(key: PRNGKeyArray) -> Float[Array, "2"]:
    """The direction of x, or the opposite."""
    return jnp.array([1.0, 0.0]) * jnp.where(jax.random.bernoulli(key), 1.0, -1.0)


def any_direction(key: PRNGKeyArray) -> Float[Array, "2"]:
    """A unit vector, all as likely."""
    angle = jax.random.uniform(key, maxval=2 * jnp.pi)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def in_square(key: PRNGKeyArray) -> Float[Array, "2"]:
    """A place in U[-3, 3]^2, in m."""
    return jax.random.uniform(key, (2,), minval=-3.0, maxval=3.0)


def in_disc(key: PRNGKeyArray) -> Float[Array, "2"]:
    """A place in the disc of radius 3 m, all as likely."""
    angle_key, radius_key = jax.random.split(key)
    return 3.0 * jnp.sqrt(jax.random.uniform(radius_key)) * any_direction(angle_key)


def multipliers(
    key: PRNGKeyArray, bodies: int, joints: int, shapes: int
) -> dict[str, Float[Array, "..."]]:
    """What a body's masses, inertias, dampings and frictions are multiplied by, each number apart.

    b^U(-3, 3), with b = 1.3 for damping and 1.5 for the others. `bodies` and `shapes` count the
    world's too, as MuJoCo does; `joints` counts degrees of freedom.
    """
    sizes = {
        "mass": (bodies,),
        "inertia": (bodies, 3),
        "damping": (joints,),
        "friction": (shapes, 3),
    }
    keys = jax.random.split(key, len(sizes))
    return {
        name: BASES[name] ** jax.random.uniform(k, size, minval=-SPREAD, maxval=SPREAD)
        for k, (name, size) in zip(keys, sizes.items(), strict=True)
    }


def limited(make: Callable[..., gymnasium.Env], what: Any, horizon: int) -> gymnasium.Env:
    """A simulator of which episodes are truncated at the horizon."""
    return TimeLimit(make(what), max_episode_steps=horizon)


class MujocoFamily:
    """`sample` draws tasks; `connect` gives simulators that step together, each in its own task."""

    def __init__(
        self,
        name: str,
        varies: str,
        draw: Callable[[PRNGKeyArray], Task],
        make: Callable[..., gymnasium.Env],
        what: Any,
        horizon: int,
        reach: float = 1.0,
    ):
        """`make(what)` is a simulator; `reach` is how far a policy's actions go (see `Box`)."""
        self.name, self.varies, self.horizon, self.reach = name, varies, horizon, reach
        self._draw, self._make = draw, partial(limited, make, what, horizon)

    def sample(self, key: PRNGKeyArray) -> Task:
        return self._draw(key)

    def connect(self, num_envs: int) -> AsyncEnvs:
        """So many simulators, in a process for each core; tell them their tasks first."""
        env = AsyncEnvs(self._make, num_envs, self.name, self.horizon)
        env.action_space = self.action_space
        return env

    @property
    def observation_space(self) -> ObservationSpace:
        return self._spaces[0]

    @property
    def action_space(self) -> ActionSpace:
        return self._spaces[1]

    # With an underscore: a public one would tell one family from another by whether it was asked.
    @cached_property
    def _spaces(self) -> tuple[ObservationSpace, ActionSpace]:
        """As one simulator says."""
        env = self._make()
        sees, does = observation_space(env.observation_space), action_space(env.action_space)
        env.close()
        return sees, does._replace(reach=self.reach) if isinstance(does, Box) else does


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
_to_2, _to_3 = partial(velocity, fastest=2.0), partial(velocity, fastest=3.0)

# What varies, how it is drawn, and the rules.
RUNNERS: dict[str, tuple[str, Any, Rules]] = {
    "finn2017/HalfCheetahVel": (SPEED, _to_2, _finn_cheetah("velocity")),
    "finn2017/HalfCheetahDir": (FORTH_OR_BACK, forward_or_back, _finn_cheetah("direction")),
    "finn2017/AntVel": (SPEED, _to_3, _finn_ant("velocity", bonus=1.05)),
    "finn2017/AntDir": (FORTH_OR_BACK, forward_or_back, _finn_ant("direction", bonus=0.05)),
    "finn2017/AntGoal": (PLACE, in_square, _finn_ant("place", bonus=4.05)),
    "promp2018/HalfCheetahVel": (SPEED, _to_3, _cheetah("velocity")),
    "promp2018/HalfCheetahDir": (FORTH_OR_BACK, forward_or_back, _cheetah("direction")),
    "promp2018/AntDir": (
        FORTH_OR_BACK,
        forward_or_back,
        _way(sees=("pose", "velocities", "contacts"), healthy=(0.0, 1.0)),
    ),
    "promp2018/AntGoal": (PLACE, in_disc, _place),
    "pearl2019/HalfCheetahVel": (SPEED, _to_3, _cheetah("velocity")),
    "pearl2019/HalfCheetahDir": (FORTH_OR_BACK, forward_or_back, _cheetah("direction")),
    "pearl2019/AntDir": (
        WAY,
        any_direction,
        _way(sees=("pose", "velocities"), healthy=(0.2, 1.0)),
    ),
    "pearl2019/AntGoal": (PLACE, in_disc, _place),
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
    draw = partial(multipliers, **dict(zip(("bodies", "joints", "shapes"), counts, strict=True)))
    return MujocoFamily(name, varies, draw, Body, robot, horizon, reach)
