"""Distances between rewards, whatever their scale, offset and shaping: EPIC and DARD.

Both are from 0 over 0.71 (unrelated rewards) to 1 (one is the other's negative). 0 is the same
optimal policies: of EPIC whichever the dynamics are, of DARD with those of its steps.
"""

from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import TaskFamily
from metarlhf.explain.rewards import StepReward
from metarlhf.explain.steps import Transitions, random_actions
from metarlhf.types import Task


class Distance(NamedTuple):
    """Between two rewards, by name."""

    one: str
    other: str
    epic: float
    dard: float


def reward_distances(
    key: PRNGKeyArray,
    rewards: Mapping[str, StepReward],
    family: TaskFamily,
    task: Task,
    steps: Transitions,
    discount: float,
) -> list[Distance]:
    """EPIC and DARD distances between every two of the rewards.

    Args:
        key: of random actions and steps; the same for every reward.
        rewards: by name; pairs come in this order.
        family: simulates what can follow a step, for DARD.
        task: of the simulation.
        steps: what distances are taken over, shape [step].
        discount: of future rewards, up to which shaping makes no difference.
    """
    canonical = {
        name: (
            np.asarray(epic_canonical(key, reward, family, steps, discount)),
            np.asarray(dard_canonical(key, reward, family, task, steps, discount)),
        )
        for name, reward in rewards.items()
    }
    names = list(canonical)
    return [
        Distance(one, two, *map(pearson_distance, canonical[one], canonical[two]))
        for n, one in enumerate(names)
        for two in names[n + 1 :]
    ]


def pearson_distance(one: Float[np.ndarray, " step"], other: Float[np.ndarray, " step"]) -> float:
    """Pearson distance sqrt((1 - rho) / 2) of two rewards of the same steps."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    one, other = one - one.mean(), other - other.mean()
    scale = max(float(np.sqrt(np.mean(one**2) * np.mean(other**2))), 1e-300)
    return float(np.sqrt(max(1 - float(np.mean(one * other)) / scale, 0.0) / 2))


@eqx.filter_jit
def epic_canonical(
    key: PRNGKeyArray,
    reward: StepReward,
    family: TaskFamily,
    steps: Transitions,
    discount: float,
    samples: int = 64,
) -> Float[Array, " step"]:
    """The steps' canonically shaped rewards (Gleave et al. 2021, definition 4.1).

    C(s, a, s') = R(s, a, s') + E[discount R(s', A, S') - R(s, A, S') - discount R(S, A, S')],

    A a random action, S and S' independent observations of `steps`, `samples` of each.
    """
    action_key, from_key, to_key = jax.random.split(key, 3)
    count = steps.obs.shape[0]
    action = random_actions(action_key, family, (samples,))
    start = steps.obs[jax.random.randint(from_key, (samples,), 0, count)]
    end = steps.next_obs[jax.random.randint(to_key, (samples,), 0, count)]

    def random_step(obs):
        return reward(jnp.broadcast_to(obs, start.shape), action, end).mean()

    rewards = reward(steps.obs, steps.action, steps.next_obs)
    everywhere = jax.lax.map(random_step, start, batch_size=256).mean()
    before = jax.lax.map(random_step, steps.obs, batch_size=256)
    after = jax.lax.map(random_step, steps.next_obs, batch_size=256)
    return rewards + discount * after - before - discount * everywhere


@eqx.filter_jit
def dard_canonical(
    key: PRNGKeyArray,
    reward: StepReward,
    family: TaskFamily,
    task: Task,
    steps: Transitions,
    discount: float,
    samples: int = 32,
) -> Float[Array, " step"]:
    """The steps' rewards shaped by what can really follow (Wulfe et al. 2022, definition 4).

    C(s, a, s') = R(s, a, s') + E[discount R(s', A, S'') - R(s, A, S') - discount R(S', A, S'')],

    A a random action, S' what it leads to from s and S'' from s', by the simulator itself: no
    reward is evaluated at a step that cannot be.
    """
    family = family.without_termination()

    def of(step: Transitions, key: PRNGKeyArray) -> Float[Array, ""]:
        action_key, one_key, other_key = jax.random.split(key, 3)
        action = random_actions(action_key, family, (samples,))
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
        rewards = reward(step.obs[None], step.action[None], step.next_obs[None])[0]
        return rewards + (shaped - reward(here, action, one)).mean()

    keys = jax.random.split(key, steps.obs.shape[0])
    return jax.lax.map(lambda args: of(*args), (steps, keys), batch_size=128)
