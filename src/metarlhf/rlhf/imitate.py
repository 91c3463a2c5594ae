"""Behaviour cloning: a policy that begins where somebody has shown what to do."""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf import optimise
from metarlhf.networks import Agent
from metarlhf.types import Observation


@dataclass(frozen=True)
class CloningConfig:
    """How a policy is fitted to demonstrations."""

    steps: int = 300
    """Gradient steps."""
    lr: float = 1e-3
    """Adam's step size."""
    minibatch: int = 64
    """Demonstrated steps in each."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.minibatch < 1 or not self.lr > 0:
            raise ValueError(
                f"steps must be 0 or more, minibatch 1 or more and lr above 0, but are {self.steps}"
                f", {self.minibatch} and {self.lr}"
            )


@partial(jax.jit, static_argnames=("config",))
def clone(
    key: PRNGKeyArray,
    agent: Agent,
    obs: Observation,
    action: Shaped[Array, "..."],
    config: CloningConfig,
) -> Agent:
    """The agent with a policy that does what was demonstrated: maximum likelihood of the actions.

    Pomerleau 1989, "ALVINN". Leaves of `obs` and `action` have one leading dimension, a step a row;
    actions are in the policy's own units. How far a continuous policy strays stays as it was: a few
    demonstrations would end its exploring. Policies with a memory are not cloned so.

    Raises:
        ValueError: the agent has a memory.
    """
    if agent.actor.body.memory is not None:
        raise ValueError("behaviour cloning is for policies without a memory")
    optimiser, count = optax.adam(config.lr), jax.tree.leaves(obs)[0].shape[0]
    stray = agent.actor.log_std

    def loss(actor, rows) -> Float[Array, ""]:
        seen, done = jax.tree.map(lambda x: x[rows], (obs, action))
        return -jnp.mean(actor(seen, actor.initial_state())[0].log_prob(done))

    def step(carry, key):
        actor, state = carry
        rows = jax.random.randint(key, (config.minibatch,), 0, count)
        actor, state = optimise.step(optimiser, jax.grad(loss)(actor, rows), state, actor)
        if stray is not None:
            actor = eqx.tree_at(lambda a: a.log_std, actor, stray)
        return (actor, state), None

    begin = (agent.actor, optimise.begin(optimiser, agent.actor))
    (actor, _), _ = jax.lax.scan(step, begin, jax.random.split(key, config.steps))
    return eqx.tree_at(lambda a: a.actor, agent, actor)
