"""A policy in host simulators: those that are not JAX.

All environments act by one compiled call a step, to which their observations go and from which
their actions come. Noise is drawn for many steps at once beforehand; log-probabilities, which no
environment waits for, are computed of all steps together afterwards.
"""

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import (
    FilmedEnv,
    HostEnv,
    HostObservation,
    HostStep,
    ShownEnv,
    TaskedEnv,
    Tasks,
    cores,
)
from metarlhf.errors import SimulatorError
from metarlhf.networks import Agent, Each, Policy
from metarlhf.networks.actor_critic import forget, initial_states
from metarlhf.sampling.base import UNKNOWN_BOUNDS, RolloutState
from metarlhf.sampling.compiled import sample_tasks
from metarlhf.types import State, Task, Trajectory

# Steps whose noise is drawn together where nobody says how many there will be.
CHUNK = 128
# Steps after which an evaluation gives up on an episode that has neither end nor time limit.
ENDLESS = 10_000


# Simulators that step together for each core, unless there are more tasks: many waste less of each
# step on asking the policies, and few take less memory.
SIMULATORS = 32

Picture = TypeVar("Picture")


class HostSampler:
    """A `Sampler` of a host simulator, which changes as it is stepped.

    Simulators cannot be copied, put back or saved: whoever goes on from a saved state begins new
    episodes by `reset`.

    Args:
        env: the environments to act in.
        evaluation_env: others, for evaluation alone; None where nobody evaluates.
        shown: what people are shown of it in clips; None where nobody is.
    """

    pure: ClassVar[bool] = False

    def __init__(
        self,
        env: HostEnv,
        evaluation_env: HostEnv | None = None,
        shown: ShownEnv | None = None,
    ):
        self.env, self.evaluation_env, self.shown = env, evaluation_env, shown

    @property
    def name(self) -> str:
        """Of the simulator."""
        return self.env.name

    @property
    def num_envs(self) -> int:
        """Environments that step together."""
        return self.env.num_envs

    @property
    def spaces(self) -> HostEnv:
        """The simulator, which has them."""
        return self.env

    @property
    def reward_bounds(self) -> tuple[float, float]:
        """Nobody knows what the worst and the best step of a simulator are paid."""
        return UNKNOWN_BOUNDS

    def without_termination(self) -> "HostSampler":
        """The same: a simulator's episodes end as it says."""
        return self

    def reset(self, key: PRNGKeyArray, actor: Policy) -> RolloutState:
        """Begin an episode in every environment; the key gives the simulators' seed."""
        return reset(self.env, actor, seed_of(key))

    def collect(
        self, key: PRNGKeyArray, actor: Policy, state: RolloutState, steps: int
    ) -> tuple[RolloutState, Trajectory]:
        """Act for `steps` in every environment, see `Sampler.collect`."""
        return collect(key, self.env, actor, state, steps)

    def statistics(self, start: RolloutState, trajectory: Trajectory) -> dict[str, Any]:
        """How many episodes ended, and their mean return; None where none did."""
        returns = finished_returns(start, trajectory)
        mean = float(returns.mean()) if len(returns) else None
        return {"episodes": len(returns), "episode_return": mean}

    def episodes(
        self, key: PRNGKeyArray, actor: Policy, count: int, deterministic: bool = False
    ) -> Trajectory:
        """Whole episodes in the evaluation environments, see `Sampler.episodes`.

        Raises:
            ValueError: there are not as many evaluation environments as episodes.
        """
        env = self._for_evaluation(count)
        reset_key, collect_key = jax.random.split(key)
        start, steps = reset(env, actor, seed_of(reset_key)), env.horizon or ENDLESS
        return collect(collect_key, env, actor, start, steps, deterministic)[1]

    def evaluate(
        self, key: PRNGKeyArray, actor: Policy, episodes: int, deterministic: bool = True
    ) -> Float[np.ndarray, " episode"]:
        """True returns of an episode in each of the evaluation environments.

        Raises:
            ValueError: there are not as many of them as `episodes`.
        """
        return evaluate(key, self._for_evaluation(episodes), actor, deterministic)

    def _for_evaluation(self, episodes: int) -> HostEnv:
        env = self.evaluation_env
        if env is None or env.num_envs != episodes:
            there = "none" if env is None else env.num_envs
            raise ValueError(
                f"{episodes} episodes take as many evaluation environments of {self.name}, but "
                f"there are {there}: connect them as the sampler's evaluation_env"
            )
        return env


class HostTaskSampler:
    """A `TaskSampler` of a family of host simulators; every collection begins its episodes anew.

    Args:
        family: whose tasks are drawn.
        env: simulators of it, as many for each task of a batch (see `num_simulators`).
    """

    pure: ClassVar[bool] = False

    def __init__(self, family: Tasks, env: TaskedEnv):
        self.family, self.env = family, env

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        return self.family.horizon

    def sample_tasks(self, key: PRNGKeyArray, count: int) -> Task:
        """`count` tasks of the family."""
        return sample_tasks(key, self.family, count)

    def episodes(
        self,
        key: PRNGKeyArray,
        tasks: Task,
        agents: Agent,
        count: int,
        deterministic: bool = False,
    ) -> Trajectory:
        """Whole episodes of every task by its own agent, see `TaskSampler.episodes`.

        Raises:
            ValueError: simulators do not part equally among tasks, or episodes among a task's.
        """
        num_tasks = jax.tree.leaves(tasks)[0].shape[0]
        each, horizon = self.env.num_envs // num_tasks, self.env.horizon
        if not each or self.env.num_envs % num_tasks or count % each or horizon is None:
            raise ValueError(
                f"{count} episodes in each of {num_tasks} tasks cannot be played by "
                f"{self.env.num_envs} simulators: expected as many for each task, and of those so "
                "many that they divide the episodes (metarlhf.sampling.num_simulators says how "
                "many)"
            )
        self.env.set_tasks(jax.tree.map(lambda x: np.repeat(np.asarray(x), each, axis=0), tasks))
        policies, parts = Each(agents.actor), []
        for wave_key in jax.random.split(key, count // each):
            seed_key, act_key = jax.random.split(wave_key)
            start = reset(self.env, policies, seed_of(seed_key))
            trajectory = collect(act_key, self.env, policies, start, horizon, deterministic)[1]
            parts.append(
                jax.tree.map(lambda x: x.reshape(num_tasks, each, *x.shape[1:]), trajectory)
            )
        return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


def num_simulators(tasks: int, episodes: int) -> int:
    """How many simulators a `HostTaskSampler` does well with.

    Args:
        tasks: in a batch.
        episodes: of each task.

    Returns:
        The same number for each task, which divides its episodes.
    """
    most = SIMULATORS * cores()
    fitting = (n for n in range(1, episodes + 1) if episodes % n == 0 and n * tasks <= most)
    return tasks * max(fitting, default=1)


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
) -> tuple[RolloutState, Trajectory]:
    """Act for `num_steps` in every environment, each reset where its episode ends.

    Returns the state to go on from, and a trajectory with leading dimensions (env, time).
    """
    steps = _play(key, env, actor, start, num_steps, deterministic)
    moments = [next(steps) for _ in range(num_steps)]
    last, running = moments[-1], np.array(start.env)
    for moment in moments:
        running += moment.step.reward
        running[moment.ended] = 0.0
    records = [(m.obs, m.action, *m.step[:4]) for m in moments]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *records)
    trajectory = _trajectory(actor, start.policy, *stacked)
    end = RolloutState(jax.tree.map(jnp.asarray, last.step.obs), jnp.asarray(running), last.policy)
    return end, trajectory


def finished_returns(start: RolloutState, trajectory: Trajectory) -> Float[np.ndarray, " episode"]:
    """Returns of the episodes that ended in a trajectory collected from `start`, step by step."""
    running, rewards = np.array(start.env), np.asarray(trajectory.task_reward)
    done, finished = np.asarray(trajectory.done), []
    for step in range(done.shape[1]):
        running += rewards[:, step]
        finished.append(running[done[:, step]])
        running[done[:, step]] = 0.0
    return np.concatenate(finished)


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
