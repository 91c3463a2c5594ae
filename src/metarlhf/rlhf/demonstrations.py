"""What somebody showed: whole episodes of observations and actions, in a safetensors file.

The arrays are `obs` [step, obs], `action` [step, action] in the policy's own units (-1 to 1, or the
number of a choice), and `length` [episode], how many steps each episode has, in order.

Behaviour cloning: a policy that begins where somebody has shown what to do.
"""

from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped
from safetensors import SafetensorError
from safetensors.numpy import load, save

from metarlhf import optimise
from metarlhf.envs.base import Shown
from metarlhf.errors import PublishedFileError
from metarlhf.feedback.clips import blank
from metarlhf.files import write_bytes
from metarlhf.networks import Agent
from metarlhf.rlhf.config import CloningConfig
from metarlhf.rlhf.state import RLHFState
from metarlhf.types import Observation, Segment

# Folded into the key that RLHF begins with, for cloning.
CLONING = 0xC10E


class Demonstrations:
    """Episodes that a family's agent is to learn from.

    Attributes:
        obs, action: every step of all episodes, one after the other.
        clips: every stretch of `family.segment_length` steps that begins at a multiple of it.
    """

    def __init__(self, family: Shown, obs: np.ndarray, action: np.ndarray, length: np.ndarray):
        like = blank(family, 1)[0]
        right = (obs.shape[1:], action.shape[1:]) == (like.obs.shape[1:], like.action.shape[1:])
        if not right or len(obs) != len(action) or length.sum() != len(obs):
            raise PublishedFileError(
                f"these demonstrations have obs {obs.shape}, action {action.shape} and "
                f"{int(length.sum())} steps in all; {family.name} has obs (steps, "
                f"{like.obs.shape[1]}) and action (steps{_more(like.action.shape[1:])})"
            )
        self.obs = jnp.asarray(obs, like.obs.dtype)
        self.action = jnp.asarray(action, like.action.dtype)
        size, ends = family.segment_length, np.cumsum(length)
        begins = [
            begin
            for end, steps in zip(ends, length, strict=True)
            for begin in range(end - steps, end - size + 1, size)
        ]
        if not begins:
            raise PublishedFileError(
                f"no demonstrated episode is as long as a clip of {family.name}, {size} steps"
            )
        rows = jnp.asarray(begins)[:, None] + jnp.arange(size)
        nothing = jnp.zeros(rows.shape)  # nobody knows what it would pay
        self.clips = Segment(self.obs[rows], self.action[rows], nothing)


def _more(shape: tuple[int, ...]) -> str:
    return "".join(f", {size}" for size in shape)


def write_demonstrations(
    path: Path, obs: np.ndarray, action: np.ndarray, length: np.ndarray
) -> None:
    """Write episodes; leaves are as `Demonstrations` has them."""
    arrays = {"obs": obs, "action": action, "length": length}
    write_bytes(path, save({name: np.ascontiguousarray(x) for name, x in arrays.items()}))


def read_demonstrations(path: Path, family: Shown) -> Demonstrations:
    """What `write_demonstrations` wrote, for agents of `family`.

    Raises:
        PublishedFileError: there is no such file, it is none of demonstrations, or of others'.
    """
    try:
        arrays = load(path.read_bytes())
        found = [arrays[name] for name in ("obs", "action", "length")]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise PublishedFileError(
            f"{path} holds no demonstrations ({error}): expected what `metarlhf play RUN --record` "
            "writes"
        ) from error
    obs, action, length = found
    if obs.dtype.kind != "f" or not np.isfinite(obs).all() or length.dtype.kind not in "iu":
        raise PublishedFileError(f"{path} holds numbers that are no observations, or no lengths")
    if action.dtype.kind == "f" and not np.isfinite(action).all():
        raise PublishedFileError(f"{path} holds actions that are not finite")
    if (np.asarray(length) < 1).any():
        raise PublishedFileError(f"{path} has an episode without a step")
    return Demonstrations(family, obs, action, length)


def begin_cloned(
    key: PRNGKeyArray, state: RLHFState, demonstrations: Demonstrations, config: CloningConfig
) -> RLHFState:
    """A first state of RLHF whose policy begins as somebody has shown, see `clone`.

    Args:
        key: the one that the state was begun with: another follows from it.
        state: from `from_scratch`.
        demonstrations: what was shown.
        config: how the policy is fitted to it.
    """
    key, data = jax.random.fold_in(key, CLONING), demonstrations
    agent = clone(key, state.ppo.agent, data.obs, data.action, config)
    return eqx.tree_at(lambda s: s.ppo.agent, state, agent)


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
