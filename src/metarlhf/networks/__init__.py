"""Networks as pytrees of arrays: policies, value functions and their action distributions."""

from metarlhf.networks.actor_critic import Actor as Actor
from metarlhf.networks.actor_critic import Agent as Agent
from metarlhf.networks.actor_critic import Critic as Critic
from metarlhf.networks.build import build_agent as build_agent
from metarlhf.networks.distributions import Categorical as Categorical
from metarlhf.networks.distributions import DiagGaussian as DiagGaussian
from metarlhf.networks.distributions import Distribution as Distribution
from metarlhf.networks.mlp import MLP as MLP
