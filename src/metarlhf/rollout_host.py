"""Policy x simulator on the host -> `Trajectory`, the same as `rollout` gives for compiled tasks.

All environments act by one compiled call a step, to which their observations go and from which
their actions come. Noise is drawn for many steps at once beforehand; log-probabilities, which no
environment waits for, are computed of all steps together afterwards.
"""

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import FilmedEnv, HostEnv, HostObservation, HostStep
from metarlhf.envs.errors import SimulatorError
from metarlhf.networks import Policy
from metarlhf.networks.actor_critic import forget, initial_states
from metarlhf.rollout import RolloutState
from metarlhf.types import State, Trajectory

# Steps whose noise is drawn together where nobody says how many there will be.
CHUNK = 128
# Steps after which an evaluation gives up on an episode that has neither end nor time limit.
ENDLESS = 10_000


Picture = TypeVar("Picture")


class Moment(NamedTuple):
    """One step of all environments: what was seen and done, what came of it."""

    obs: HostObservation
    action: np.ndarray
    step: HostStep
    policy: State
    """What the policy remembers for the next step; nothing where an episode ended."""

    @property
    def ended(self) -> np.ndarray:
        """Where an episode ended."""
        return self.step.terminated | self.step.truncated


def reset(env: HostEnv, actor: Policy, seed: int) -> RolloutState:
    """Start an episode in every environment.

    The simulators keep their own states: in their place stands what each episode has paid so far.
    """
    obs = jax.tree.map(jnp.asarray, env.reset(seed))
    return RolloutState(obs, jnp.zeros(env.num_envs), initial_states(actor, env.num_envs))


def collect(
    key: PRNGKeyArray,
    env: HostEnv,
    actor: Policy,
    start: RolloutState,
    num_steps: int,
    deterministic: bool = False,
) -> tuple[RolloutState, Trajectory, Float[np.ndarray, " episodes"]]:
    """Act for `num_steps` in every environment, each restarted where its episode ends.

    Returns the state to go on from, a trajectory with leading dimensions (env, time), and what the
    episodes paid that ended meanwhile, from their very beginning.
    """
    steps = _play(key, env, actor, start, num_steps, deterministic)
    moments = [next(steps) for _ in range(num_steps)]
    last, paid, returns = moments[-1], np.array(start.env), []
    for moment in moments:
        paid += moment.step.reward
        returns.append(paid[moment.ended])
        paid[moment.ended] = 0.0
    records = [(m.obs, m.action, *m.step[:4]) for m in moments]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *records)
    trajectory = _trajectory(actor, start.policy, *stacked)
    end = RolloutState(jax.tree.map(jnp.asarray, last.step.obs), jnp.asarray(paid), last.policy)
    return end, trajectory, np.concatenate(returns)


def evaluate(
    key: PRNGKeyArray, env: HostEnv, actor: Policy, deterministic: bool = True
) -> Float[np.ndarray, " env"]:
    """True returns of one whole episode in every environment of `env`, which is for nothing else.

    One each, or short episodes would count more often than long ones.
    """
    seed_key, key = jax.random.split(key)
    start = reset(env, actor, seed_of(seed_key))
    total, going = np.zeros(env.num_envs, np.float32), np.ones(env.num_envs, bool)
    moments = _play(key, env, actor, start, CHUNK, deterministic)
    for _, moment in zip(range(env.horizon or ENDLESS), moments, strict=False):
        total += np.where(going, moment.step.reward, 0.0)
        going &= ~moment.ended
        if not going.any():
            break
    return total


def play_episode(
    key: PRNGKeyArray, env: HostEnv, actor: Policy, deterministic: bool = False
) -> tuple[Shaped[np.ndarray, "time obs"], Shaped[np.ndarray, "time ..."]]:
    """What one environment sees and does until its episode ends: the first that `film` shows."""
    seed_key, key = jax.random.split(key)
    start = reset(env, actor, seed_of(seed_key))
    seen, done = [], []
    moments = _play(key, env, actor, start, CHUNK, deterministic)
    for _, moment in zip(range(env.horizon or ENDLESS), moments, strict=False):
        seen.append(moment.obs[0])
        done.append(moment.action[0])
        if moment.ended.any():
            break
    return np.stack(seen), np.stack(done)


def film(
    key: PRNGKeyArray,
    env: FilmedEnv,
    actor: Policy,
    keep: Callable[[np.ndarray], Picture],
    deterministic: bool = True,
) -> tuple[list[Picture], float]:
    """An episode, seen before every step, and its return: the first that `evaluate` plays.

    `keep` makes of each frame what is kept of it, as whole ones may fill the memory.
    """
    seed_key, key = jax.random.split(key)
    start = reset(env, actor, seed_of(seed_key))
    pictures, total = [keep(env.frame())], 0.0
    moments = _play(key, env, actor, start, CHUNK, deterministic)
    for _, moment in zip(range(env.horizon or ENDLESS), moments, strict=False):
        total += float(moment.step.reward[0])
        if moment.ended.any():
            break
        pictures.append(keep(env.frame()))
    return pictures, total


def seed_of(key: PRNGKeyArray) -> int:
    """A simulator's seed, of a key."""
    return int(jax.random.randint(key, (), 0, 2**31 - 1))


def _play(
    key: PRNGKeyArray,
    env: HostEnv,
    actor: Policy,
    start: RolloutState,
    chunk: int,
    deterministic: bool = False,
) -> Iterator[Moment]:
    """Act on and on, step by step."""
    obs, policy = jax.tree.map(np.asarray, start.obs), start.policy
    while True:
        key, noise_key = jax.random.split(key)
        noise = _noise(noise_key, actor, (chunk, env.num_envs))
        for t in range(chunk):
            found = _act(actor, noise, t, obs, policy, env.action_space, deterministic)
            action, unit = jax.device_get(found[:2])
            step = _step(env, unit)
            ended = step.terminated | step.truncated
            policy = _forget(ended, actor, found[2]) if ended.any() else found[2]
            yield Moment(obs, action, step, policy)
            obs = step.obs


def _step(env: HostEnv, action: np.ndarray) -> HostStep:
    """A step.

    Raises:
        SimulatorError: the simulator raised something; the message says what, and where.
    """
    try:
        return env.step(action)
    except (SimulatorError, KeyboardInterrupt):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise SimulatorError(
            f"{env.name} failed in a step: {type(error).__name__}: {error} ({last.filename}, line "
            f"{last.lineno})"
        ) from error


@partial(jax.jit, static_argnames=("shape",))
def _noise(key: PRNGKeyArray, actor: Policy, shape: tuple[int, ...]) -> Array:
    return actor.draw_noise(key, shape)


@partial(jax.jit, static_argnames=("space", "deterministic"))
def _act(actor: Policy, noise: Array, t: Any, obs: Any, policy: State, space: Any, deterministic):
    """What the policy does, also in the simulator's units, and what it remembers."""
    distribution, policy = actor(obs, policy)
    action = distribution.mode() if deterministic else distribution.sample(noise[t])
    return action, space.from_unit(action), policy


@jax.jit
def _forget(ended: Array, actor: Policy, policy: State) -> State:
    return forget(ended, actor.initial_state(), policy)


@jax.jit
def _trajectory(
    actor: Policy, memory: State, obs, action, next_obs, reward, terminated, truncated
) -> Trajectory:
    distribution = actor.over(obs, memory, terminated | truncated)
    log_prob = distribution.log_prob(action)
    return Trajectory(
        obs, action, log_prob, next_obs, reward, reward, terminated, truncated, memory
    )
