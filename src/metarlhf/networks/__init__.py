"""Networks as pytrees of arrays: policies, value functions and their action distributions."""

from metarlhf.networks.actor_critic import Actor as Actor
from metarlhf.networks.actor_critic import Agent as Agent
from metarlhf.networks.actor_critic import Critic as Critic
from metarlhf.networks.build import build_agent as build_agent
from metarlhf.networks.distributions import Bernoulli as Bernoulli
from metarlhf.networks.distributions import Categorical as Categorical
from metarlhf.networks.distributions import DiagGaussian as DiagGaussian
from metarlhf.networks.distributions import Distribution as Distribution
from metarlhf.networks.distributions import MultiCategorical as MultiCategorical
from metarlhf.networks.distributions import SquashedGaussian as SquashedGaussian
from metarlhf.networks.each import Each as Each
from metarlhf.networks.each import Policy as Policy
from metarlhf.networks.encoders import example as example
from metarlhf.networks.heads import head_of as head_of
from metarlhf.networks.learned_optimiser import LearnedOptimiser as LearnedOptimiser
from metarlhf.networks.learned_optimiser import OptimiserShape as OptimiserShape
from metarlhf.networks.learned_optimiser import load_optimiser as load_optimiser
from metarlhf.networks.learned_optimiser import publish_optimiser as publish_optimiser
from metarlhf.networks.learned_rule import learned_rule as learned_rule
from metarlhf.networks.mlp import MLP as MLP
from metarlhf.networks.moments import Moments as Moments
from metarlhf.networks.optimiser_features import Schedule as Schedule
from metarlhf.networks.published import AgentShape as AgentShape
from metarlhf.networks.published import agent_shape as agent_shape
from metarlhf.networks.published import load_agent as load_agent
from metarlhf.networks.published import publish_agent as publish_agent
