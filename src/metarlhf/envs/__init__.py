"""Task families: what an agent can be taught, and how tasks differ."""

from metarlhf.envs.base import Box, Discrete, Step, TaskFamily
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.drawing import draw_trajectory
from metarlhf.envs.navigation import Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher
from metarlhf.envs.registry import UnknownTaskError, make, names, register

__all__ = [
    "make",
    "names",
    "register",
    "UnknownTaskError",
    "TaskFamily",
    "Step",
    "Box",
    "Discrete",
    "Navigation",
    "Reacher",
    "Pendulum",
    "CartPole",
    "draw_trajectory",
]
