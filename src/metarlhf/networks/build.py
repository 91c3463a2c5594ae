"""Networks that fit an environment."""

import jax
from jaxtyping import PRNGKeyArray

from metarlhf.envs.base import Spaces
from metarlhf.networks.actor_critic import Actor, Agent, Critic
from metarlhf.networks.body import Body
from metarlhf.networks.heads import head_of
from metarlhf.networks.memory import Cell


def build_agent(
    key: PRNGKeyArray,
    spaces: Spaces,
    hidden: tuple[int, ...] = (64, 64),
    context_size: int = 0,
    initial_std: float = 1.0,
    *,
    learns_context: bool = False,
    memory: Cell | None = None,
    memory_size: int = 64,
    normalise_obs: bool = False,
    squash: bool = False,
    shared_torso: bool = False,
) -> Agent:
    """An untrained agent whose networks fit `spaces`.

    Both are told a context of so many numbers; one that is learned is the policy's alone.

    Policy and value function have encoders, memories and hidden layers of their own, or with
    `shared_torso` the same ones below a last layer each.
    """
    space = spaces.observation_space

    def body(key: PRNGKeyArray, context_size: int) -> Body:
        return Body(
            space,
            key=key,
            context_size=context_size,
            learns_context=learns_context,
            memory=memory,
            memory_size=memory_size,
            normalise=normalise_obs,
        )

    seen_key, actor_key, judged_key, critic_key = jax.random.split(key, 4)
    seen = body(seen_key, context_size)
    actor = Actor(
        seen,
        seen.features(space),
        head_of(spaces.action_space, squash),
        key=actor_key,
        hidden=hidden,
        initial_std=initial_std,
    )
    if shared_torso:
        width = hidden[-1] if hidden else seen.features(space)
        return Agent(actor, Critic(None, width, key=critic_key, hidden=()))
    judged = body(judged_key, 0 if learns_context else context_size)
    return Agent(actor, Critic(judged, judged.features(space), key=critic_key, hidden=hidden))
