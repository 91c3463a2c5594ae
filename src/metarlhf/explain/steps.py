"""Steps that a reward is explained over: collected, chosen, and split to fit and to test."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray, Shaped

from metarlhf.envs.base import Discrete, Shown, TaskFamily
from metarlhf.explain.rewards import inputs_of
from metarlhf.networks import Actor
from metarlhf.networks.actor_critic import forget
from metarlhf.reward import Learned
from metarlhf.sampling.compiled import reset
from metarlhf.types import State, Task

# Steps that distances are taken over, and steps that all else looks at, at most.
DISTANCE_STEPS, MAX_STEPS = 512, 4000
# Neighbours are of one trajectory, so tests are on blocks of steps: one block in so many.
BLOCK, TEST_EVERY = 20, 4


class Transitions(NamedTuple):
    """Steps with the simulator's state before and after each; any leading dimensions."""

    obs: Float[Array, "*batch obs"]
    action: Shaped[Array, "..."]
    next_obs: Float[Array, "*batch obs"]
    state: State
    next_state: State
    ended: Array
    """Whether the episode was over before the step."""


def random_actions(key: PRNGKeyArray, family: TaskFamily, shape: tuple[int, ...]) -> Array:
    """Uniformly random actions, as policies act."""
    space = family.action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, shape, 0, space.size)
    return jax.random.uniform(key, (*shape, space.size), minval=-1.0, maxval=1.0)


@eqx.filter_jit
def collect_transitions(
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
        memory, noise = None, random_actions(noise_key, family, shape)
    else:
        obs, env, memory = reset(reset_key, family, task, actor, episodes)
        noise = actor.draw_noise(noise_key, shape)

    def step(carry, inputs):
        obs, env, memory, ended = carry
        noise, keys = inputs
        if actor is None:
            action, next_memory = noise, memory
        else:
            distribution, next_memory = actor(obs, memory)
            action = distribution.mode() if deterministic else distribution.sample(noise)
        unit = family.action_space.from_unit(action)
        next_obs, next_env, _, terminated, _ = jax.vmap(family.step, (0, 0, 0, None))(
            keys, env, unit, task
        )
        transition = Transitions(obs, action, next_obs, env, next_env, ended)
        over = ended | terminated
        carry = (forget(over, obs, next_obs), forget(over, env, next_env), next_memory, over)
        return carry, transition

    begin = (obs, env, memory, jnp.zeros(episodes, bool))
    _, collected = jax.lax.scan(step, begin, (noise, jax.random.split(step_key, shape)))
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), collected)


def observed_steps(
    learned: Learned, family: Shown, episodes: Transitions | None
) -> Float[Array, "step inputs"]:
    """Inputs of steps in queries, in clips that queries may be drawn from, and in `episodes`."""
    # By NumPy: op by op, JAX would compile a program for each of the sizes.
    clips, feedback, episodes = jax.device_get((learned.seen, learned.feedback, episodes))
    comparisons, ratings = feedback.comparisons, feedback.ratings
    compared, rated = comparisons.weight > 0, ratings.weight > 0
    parts = [
        (comparisons.left.obs[compared], comparisons.left.action[compared]),
        (comparisons.right.obs[compared], comparisons.right.action[compared]),
        (ratings.segment.obs[rated], ratings.segment.action[rated]),
        (clips.obs, clips.action),
    ]
    if episodes is not None:
        parts.append((episodes.obs[~episodes.ended][None], episodes.action[~episodes.ended][None]))
    flat = [[x.reshape(-1, *x.shape[2:]) for x in part] for part in parts]
    obs, action = (np.concatenate(arrays) for arrays in zip(*flat, strict=True))
    chosen = evenly_spaced(len(obs), MAX_STEPS)
    return jnp.asarray(inputs_of(family, obs[chosen], action[chosen]))


def newest_clip(learned: Learned) -> Transitions:
    """The newest clip as an episode, of which nothing but observations and actions is known."""
    clip = jax.tree.map(lambda x: x[:1], learned.seen)
    ended = jnp.zeros(clip.obs.shape[:2], bool)
    return Transitions(clip.obs, clip.action, clip.obs, None, None, ended)


def evenly_spaced(length: int, count: int) -> Integer[np.ndarray, " chosen"]:
    """At most `count` evenly spaced indices below `length`."""
    return np.linspace(0, length - 1, min(count, length)).astype(int)


def subsample(x: Float[Array, "step inputs"], count: int) -> Float[Array, "chosen inputs"]:
    """At most `count` evenly spaced steps."""
    return jnp.asarray(np.asarray(x)[evenly_spaced(len(x), count)])


def subsample_transitions(*episodes: Transitions) -> Transitions:
    """At most `DISTANCE_STEPS` evenly spaced steps of all episodes, none after an end."""
    flat = [
        jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.device_get(one)) for one in episodes
    ]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *flat)
    alive = np.flatnonzero(~joined.ended)
    chosen = alive[evenly_spaced(len(alive), DISTANCE_STEPS)]
    return jax.tree.map(lambda x: jnp.asarray(x[chosen]), joined)


def train_test_split(count: int) -> tuple[Bool[np.ndarray, " step"], Bool[np.ndarray, " step"]]:
    """Steps to fit to, and a quarter to test on; of less than four all are both."""
    block = max(1, min(BLOCK, count // TEST_EVERY))
    test = np.arange(count) // block % TEST_EVERY == TEST_EVERY - 1
    return (~test, test) if test.any() else (~test, ~test)


def r_squared(value: Float[np.ndarray, " step"], predicted: Float[np.ndarray, " step"]) -> float:
    """Share of the variance of `value` that is explained."""
    return 1 - float(np.mean((value - predicted) ** 2) / max(np.var(value), 1e-12))
