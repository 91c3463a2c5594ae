"""Task families: what an agent can be taught, and how tasks differ."""

from metarlhf.envs.adapters.connect import connect, film
from metarlhf.envs.base import (
    Environment,
    FilmedEnv,
    HostEnv,
    HostFamily,
    HostStep,
    Shown,
    Step,
    TaskedEnv,
    TaskFamily,
    Tasks,
    TestedFamily,
)
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.drawing import draw_trajectory
from metarlhf.envs.errors import (
    MissingSimulatorError,
    SimulatorError,
    UnknownTaskError,
    VariationError,
)
from metarlhf.envs.navigation import Hazard, Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher
from metarlhf.envs.registry import (
    check_name,
    find,
    host_names,
    is_host,
    knows,
    make,
    make_family,
    make_host,
    names,
    register,
    varied,
)
from metarlhf.envs.scenes import scene
from metarlhf.envs.spaces import Box, Discrete, Image, MultiBinary, MultiDiscrete, Parts

__all__ = [
    "make",
    "make_family",
    "make_host",
    "find",
    "knows",
    "is_host",
    "host_names",
    "names",
    "register",
    "varied",
    "check_name",
    "connect",
    "film",
    "UnknownTaskError",
    "VariationError",
    "SimulatorError",
    "MissingSimulatorError",
    "Environment",
    "Tasks",
    "TaskFamily",
    "Shown",
    "HostFamily",
    "TaskedEnv",
    "TestedFamily",
    "Step",
    "HostEnv",
    "FilmedEnv",
    "HostStep",
    "Box",
    "Discrete",
    "MultiDiscrete",
    "MultiBinary",
    "Image",
    "Parts",
    "Hazard",
    "Navigation",
    "Reacher",
    "Pendulum",
    "CartPole",
    "draw_trajectory",
    "scene",
]
