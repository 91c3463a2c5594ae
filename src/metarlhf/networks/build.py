"""Networks that fit an environment."""

import jax
from jaxtyping import PRNGKeyArray

from metarlhf.envs.base import Discrete, TaskFamily
from metarlhf.networks.actor_critic import Actor, Agent, Critic


def build_agent(
    key: PRNGKeyArray,
    family: TaskFamily,
    hidden: tuple[int, ...] = (64, 64),
    context_size: int = 0,
    initial_std: float = 1.0,
) -> Agent:
    """An untrained agent whose networks fit the spaces of `family`."""
    actor_key, critic_key = jax.random.split(key)
    space = family.action_space
    actor = Actor(
        family.observation_space.size,
        space.size,
        discrete=isinstance(space, Discrete),
        key=actor_key,
        hidden=hidden,
        context_size=context_size,
        initial_std=initial_std,
    )
    critic = Critic(
        family.observation_space.size, key=critic_key, hidden=hidden, context_size=context_size
    )
    return Agent(actor, critic)
