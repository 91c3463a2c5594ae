"""Meta-training on simulators outside the compiled program: collect there, then learn here.

The learning half of the outer loop is a pure function of what was stored, so that it is the very
one of compiled tasks; here is the half that collects. Every collection begins all its episodes
anew, from a seed that follows from the state's key. So nothing of a simulator has to be saved:
training that goes on from a saved state is bit for bit what it would have been without the stop.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf.envs.base import TaskedEnv, Tasks, TestedFamily, cores
from metarlhf.envs.registry import check_name
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.gradient_prior import GradientPrior, GradientShape
from metarlhf.meta.guided import Experts, advise
from metarlhf.meta.inner import InnerLoop, begin_tasks, judge_tasks, step_tasks
from metarlhf.meta.outer import MetaRLState
from metarlhf.meta.tasks import count_of, for_each
from metarlhf.networks import Agent, Each
from metarlhf.sampling.host import collect, reset, seed_of
from metarlhf.types import Task, Trajectory

# Simulators that step together for each core, unless there are more tasks: many waste less of each
# step on asking the policies, and few take less memory.
SIMULATORS = 32

_judge = partial(jax.jit, static_argnames=("config",))(judge_tasks)
_begin = partial(jax.jit, static_argnames=("config",))(begin_tasks)
_step = partial(jax.jit, static_argnames=("config",))(step_tasks)
_advise = partial(jax.jit, static_argnames=("std",))(advise)
_learn = partial(jax.jit, static_argnames=("config",))(outer.learn)
init = partial(jax.jit, static_argnames=("family", "config"))(outer.init)


def simulators(tasks: int, episodes: int) -> int:
    """How many simulators `play` does well with: as many a task as divide its episodes."""
    most = SIMULATORS * cores()
    fitting = (n for n in range(1, episodes + 1) if episodes % n == 0 and n * tasks <= most)
    each = max(fitting, default=1)
    return tasks * each


def play(
    key: PRNGKeyArray,
    env: TaskedEnv,
    tasks: Task,
    agents: Agent,
    episodes: int,
    deterministic: bool = False,
) -> Trajectory:
    """Whole episodes of every task by its own agent, dimensions (task, episode, time).

    Raises:
        ValueError: simulators do not part equally among tasks, or episodes among a task's.
    """
    count = count_of(tasks)
    seats, horizon = env.num_envs // count, env.horizon
    if not seats or env.num_envs % count or episodes % seats or horizon is None:
        raise ValueError(
            f"{episodes} episodes in each of {count} tasks cannot be played by {env.num_envs} "
            "simulators: expected as many for each task, and of those so many that they divide "
            "the episodes (metarlhf.meta.host.simulators says how many)"
        )
    env.set_tasks(jax.tree.map(lambda x: np.repeat(np.asarray(x), seats, axis=0), tasks))
    policies, parts = Each(agents.actor), []
    for wave_key in jax.random.split(key, episodes // seats):
        seed_key, act_key = jax.random.split(wave_key)
        start = reset(env, policies, seed_of(seed_key))
        found = collect(act_key, env, policies, start, horizon, deterministic)[1]
        parts.append(jax.tree.map(lambda x: x.reshape(count, seats, *x.shape[1:]), found))
    return jax.tree.map(lambda *each: jnp.concatenate(each, axis=1), *parts)


def play_and_adapt(
    key: PRNGKeyArray,
    env: TaskedEnv,
    tasks: Task,
    state: MetaRLState | GradientPrior,
    config: MetaRLConfig,
    steps: int,
) -> InnerLoop:
    """As `inner.play_and_adapt`, from what `state` has learned, paid as the tasks pay."""
    count = count_of(tasks)
    agents = for_each(count, state.agent)
    rule_states = _begin(agents, state.rule, config)
    keys = jax.random.split(key, steps + 1)
    played = [play(keys[0], env, tasks, agents, config.episodes)]
    adapted, judged = [agents], [_judge(agents, played[0], config)]
    for step_key in keys[1:]:
        agents, rule_states = _step(agents, rule_states, judged[-1], state.rule, config)
        played.append(play(step_key, env, tasks, agents, config.episodes))
        adapted.append(agents)
        judged.append(_judge(agents, played[-1], config))
    stacked = lambda trees: jax.tree.map(lambda *x: jnp.stack(x), *trees)
    return InnerLoop(stacked(adapted), stacked(judged[:-1]), stacked(judged[1:]), stacked(played))


def iterate(
    state: MetaRLState,
    family: Tasks,
    env: TaskedEnv,
    config: MetaRLConfig,
    experts: Experts | None = None,
) -> tuple[MetaRLState, dict[str, Any]]:
    """One meta-update on new tasks: what `outer.meta_iterate` is for compiled ones; guided by
    `experts`, of whose tasks it is, where there are any.

    Metrics hold the mean return before adaptation (`return_before`) and after it (`return`), and
    how many steps all collections had so far (`steps`).
    """
    key, task_key, play_key = jax.random.split(state.key, 3)
    if experts is None:
        tasks = jax.vmap(family.sample)(jax.random.split(task_key, config.meta_batch))
    else:
        experts = experts.some(task_key, config.meta_batch)
        tasks = experts.tasks
    loop = play_and_adapt(play_key, env, tasks, state, config, config.inner_steps)
    advice = None if experts is None else _advise(experts, loop, config.advice_std)
    state, metrics = _learn(state, loop, config, advice)
    done = state.iteration + 1
    state = eqx.tree_at(lambda s: (s.iteration, s.key), state, (done, key))
    return state, {
        "steps": int(done) * config.episodes_of_iteration * family.horizon,
        "return_before": float(loop.returns[0].mean()),
        "return": float(loop.returns[-1].mean()),
        **{name: float(value) for name, value in metrics.items()},
    }


def returns_after(
    key: PRNGKeyArray, env: TaskedEnv, tasks: Task, prior: GradientPrior, steps: int
) -> Float[np.ndarray, "step task"]:
    """Mean return in each task before any of `steps` gradient steps and after each.

    Policies act by sampling, `prior.shape.policy.episodes` whole episodes in each task.
    """
    loop = play_and_adapt(key, env, tasks, prior, prior.shape.policy, steps)
    return np.asarray(loop.returns.mean(-1))


def successes_after(
    key: PRNGKeyArray,
    env: TaskedEnv,
    family: TestedFamily,
    tasks: Task,
    prior: GradientPrior,
    adaptation_episodes: int = 10,
    evaluation_episodes: int = 3,
) -> Float[np.ndarray, "2 task"]:
    """Share of episodes with a success at any step, before one gradient step and after it.

    Meta-World's protocol: one adaptation, which learns from ten episodes of a task by sampling, and
    then three by the policy's mode. `env` has a simulator for each of `tasks`.
    """
    play_key, *keys = jax.random.split(key, 3)
    config, count = prior.shape.policy, count_of(tasks)
    before = for_each(count, prior.agent)
    samples = _judge(before, play(play_key, env, tasks, before, adaptation_episodes), config)
    after, _ = _step(before, _begin(before, prior.rule, config), samples, prior.rule, config)
    until = family.until_success(tasks)

    def succeeded(key: PRNGKeyArray, agents: Agent) -> np.ndarray:
        played = play(key, env, until, agents, evaluation_episodes, deterministic=True)
        return np.asarray(played.terminated).any(-1).mean(-1)

    return np.stack([succeeded(k, agents) for k, agents in zip(keys, (before, after), strict=True)])


def prior_of(state: MetaRLState, family: Tasks, config: MetaRLConfig) -> GradientPrior:
    """What has been meta-learned so far, to teach new tasks from."""
    check_name(family)
    shape = GradientShape(family.name, config)
    return GradientPrior(state.agent, state.rule, None, None, shape)
