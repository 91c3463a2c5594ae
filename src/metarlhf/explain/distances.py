"""How far two rewards are from one another, whatever their scale, offset and shaping.

Both distances are from 0 over 0.71 (rewards that have nothing to do with one another) to 1 (one is
the other's negative). 0 is the same optimal policies: of EPIC whichever the dynamics are, of DARD
with those that its steps were taken in.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import Discrete, TaskFamily
from metarlhf.explain.rewards import StepReward
from metarlhf.networks import Actor
from metarlhf.networks.actor_critic import forget
from metarlhf.sampling.compiled import reset
from metarlhf.types import State, Task


class Transitions(NamedTuple):
    """Steps, and where the simulator stood before and after each; any leading dimensions."""

    obs: Float[Array, "*batch obs"]
    action: Shaped[Array, "..."]
    next_obs: Float[Array, "*batch obs"]
    state: State
    next_state: State
    ended: Array
    """Whether the episode was over before the step."""


def any_action(key: PRNGKeyArray, family: TaskFamily, shape: tuple[int, ...]) -> Array:
    """Uniformly random actions, as policies act."""
    space = family.action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, shape, 0, space.size)
    return jax.random.uniform(key, (*shape, space.size), minval=-1.0, maxval=1.0)


@eqx.filter_jit
def play(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    actor: Actor | None,
    episodes: int,
    deterministic: bool = False,
) -> Transitions:
    """Whole episodes [episode, time] of a policy, or of random actions where there is none.

    They do not end where the task is done, which would hide the steps around it.
    """
    family = family.without_termination()
    reset_key, noise_key, step_key = jax.random.split(key, 3)
    shape = (family.horizon, episodes)
    if actor is None:
        obs, env = jax.vmap(family.reset, (0, None))(jax.random.split(reset_key, episodes), task)
        memory, noise = None, any_action(noise_key, family, shape)
    else:
        obs, env, memory = reset(reset_key, family, task, actor, episodes)
        noise = actor.draw_noise(noise_key, shape)

    def step(carry, inputs):
        obs, env, memory, ended = carry
        noise, keys = inputs
        if actor is None:
            action, following = noise, memory
        else:
            distribution, following = actor(obs, memory)
            action = distribution.mode() if deterministic else distribution.sample(noise)
        unit = family.action_space.from_unit(action)
        next_obs, next_env, _, terminated, _ = jax.vmap(family.step, (0, 0, 0, None))(
            keys, env, unit, task
        )
        kept = Transitions(obs, action, next_obs, env, next_env, ended)
        over = ended | terminated
        return (forget(over, obs, next_obs), forget(over, env, next_env), following, over), kept

    begin = (obs, env, memory, jnp.zeros(episodes, bool))
    _, found = jax.lax.scan(step, begin, (noise, jax.random.split(step_key, shape)))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), found)


def distance(one: Float[np.ndarray, " step"], other: Float[np.ndarray, " step"]) -> float:
    """Pearson distance sqrt((1 - rho) / 2) of two rewards of the same steps."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    one, other = one - one.mean(), other - other.mean()
    scale = max(float(np.sqrt(np.mean(one**2) * np.mean(other**2))), 1e-300)
    return float(np.sqrt(max(1 - float(np.mean(one * other)) / scale, 0.0) / 2))


@eqx.filter_jit
def epic_form(
    key: PRNGKeyArray,
    reward: StepReward,
    family: TaskFamily,
    steps: Transitions,
    discount: float,
    samples: int = 64,
) -> Float[Array, " step"]:
    """The steps' canonically shaped reward (Gleave et al. 2021, definition 4.1).

    C(s, a, s') = R(s, a, s') + E[discount R(s', A, S') - R(s, A, S') - discount R(S, A, S')],

    A a random action, S and S' independent observations of `steps`, `samples` of each.
    """
    action_key, from_key, to_key = jax.random.split(key, 3)
    count = steps.obs.shape[0]
    action = any_action(action_key, family, (samples,))
    start = steps.obs[jax.random.randint(from_key, (samples,), 0, count)]
    end = steps.next_obs[jax.random.randint(to_key, (samples,), 0, count)]

    def usual(obs):
        return reward(jnp.broadcast_to(obs, start.shape), action, end).mean()

    pays = reward(steps.obs, steps.action, steps.next_obs)
    everywhere = jax.lax.map(usual, start, batch_size=256).mean()
    before = jax.lax.map(usual, steps.obs, batch_size=256)
    after = jax.lax.map(usual, steps.next_obs, batch_size=256)
    return pays + discount * after - before - discount * everywhere


@eqx.filter_jit
def dard_form(
    key: PRNGKeyArray,
    reward: StepReward,
    family: TaskFamily,
    task: Task,
    steps: Transitions,
    discount: float,
    samples: int = 32,
) -> Float[Array, " step"]:
    """The same with what can really follow (Wulfe et al. 2022, definition 4).

    C(s, a, s') = R(s, a, s') + E[discount R(s', A, S'') - R(s, A, S') - discount R(S', A, S'')],

    A a random action, S' what it leads to from s and S'' from s', by the simulator itself: no
    reward is asked about a step that cannot be.
    """
    family = family.without_termination()

    def of(step: Transitions, key: PRNGKeyArray) -> Float[Array, ""]:
        action_key, one_key, other_key = jax.random.split(key, 3)
        action = any_action(action_key, family, (samples,))
        unit = family.action_space.from_unit(action)
        follow = lambda key, state: (
            jax.vmap(family.step, (0, None, 0, None))(
                jax.random.split(key, samples), state, unit, task
            ).obs
        )
        one, other = follow(one_key, step.state), follow(other_key, step.next_state)
        here = jnp.broadcast_to(step.obs, one.shape)
        there = jnp.broadcast_to(step.next_obs, one.shape)
        shaped = discount * (reward(there, action, other) - reward(one, action, other))
        pays = reward(step.obs[None], step.action[None], step.next_obs[None])[0]
        return pays + (shaped - reward(here, action, one)).mean()

    keys = jax.random.split(key, steps.obs.shape[0])
    return jax.lax.map(lambda args: of(*args), (steps, keys), batch_size=128)
