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
    memory: Cell | None = None,
    memory_size: int = 64,
    normalise_obs: bool = False,
    squash: bool = False,
) -> Agent:
    """An untrained agent whose networks fit `spaces`.

    Policy and value function have encoders and memories of their own.
    """
    space = spaces.observation_space

    def body(key: PRNGKeyArray) -> Body:
        return Body(
            space,
            key=key,
            context_size=context_size,
            memory=memory,
            memory_size=memory_size,
            normalise=normalise_obs,
        )

    seen_key, actor_key, judged_key, critic_key = jax.random.split(key, 4)
    seen, judged = body(seen_key), body(judged_key)
    actor = Actor(
        seen,
        seen.features(space),
        head_of(spaces.action_space, squash),
        key=actor_key,
        hidden=hidden,
        initial_std=initial_std,
    )
    return Agent(actor, Critic(judged, judged.features(space), key=critic_key, hidden=hidden))
