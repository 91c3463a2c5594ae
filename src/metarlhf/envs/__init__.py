"""Task families: what an agent can be taught, and how tasks differ."""

from metarlhf.envs.base import Environment, Shown, Step, TaskFamily
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.drawing import draw_trajectory
from metarlhf.envs.errors import (
    MissingSimulatorError,
    SimulatorError,
    UnknownTaskError,
    VariationError,
)
from metarlhf.envs.host import FilmedEnv, HostEnv, HostStep
from metarlhf.envs.navigation import Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher
from metarlhf.envs.registry import check_name, knows, make, make_family, names, register, varied
from metarlhf.envs.scenes import scene
from metarlhf.envs.simulators import connect, film
from metarlhf.envs.spaces import Box, Discrete, Image, MultiBinary, MultiDiscrete, Parts

__all__ = [
    "make",
    "make_family",
    "knows",
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
    "TaskFamily",
    "Shown",
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
    "Navigation",
    "Reacher",
    "Pendulum",
    "CartPole",
    "draw_trajectory",
    "scene",
]
