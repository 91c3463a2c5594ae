"""Meta-training on simulators that step outside the compiled program, in a run's directory."""

from contextlib import closing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf import ppo
from metarlhf.cli.options import say
from metarlhf.envs import HostFamily
from metarlhf.errors import UserError
from metarlhf.meta import host
from metarlhf.meta.config import JointGradientConfig, MetaRLConfig
from metarlhf.meta.gradient_prior import GradientPrior
from metarlhf.meta.guided import Experts, drawn, taught_alone
from metarlhf.meta.outer import MetaRLState
from metarlhf.meta.tasks import count_of
from metarlhf.networks import Agent
from metarlhf.ppo import PPOConfig
from metarlhf.ppo.presets import alone_on_host
from metarlhf.report.wording import number
from metarlhf.runs import RunDirectory, drive
from metarlhf.runs.progress import Progress
from metarlhf.training import Loop
from metarlhf.types import Task

# Folded into a seed's key for what experts learn with.
EXPERTS = 0xE4B7


def check_paid_by_task(name: str, config: JointGradientConfig) -> None:
    """Refuse that a teacher pays, who would have to see what simulators keep for themselves.

    Raises:
        UserError: one should.
    """
    if config.reward != "task":
        raise UserError(
            f"simulators of {name} step outside the program, and no simulated teacher judges what "
            "they do: leave --config.reward at task"
        )


def meta_train_host(
    run: RunDirectory, family: HostFamily, seed: int, config: JointGradientConfig
) -> GradientPrior:
    """Meta-train, or go on where it stopped; the tasks pay."""
    policy, key = config.policy, jax.random.key(seed)
    experts, spent = None, {}
    if policy.method == "guided":
        experts = _experts(run, family, key, policy)
        spent = {"expert_steps": experts.count * policy.expert_steps}

    def step(state: MetaRLState, done: int) -> tuple[MetaRLState, dict[str, Any]]:
        state, metrics = host.iterate(state, family, env, policy, experts)
        return state, metrics | spent

    with closing(family.connect(host.simulators(policy.meta_batch, policy.episodes))) as env:
        state = drive(
            run,
            f"meta-training on {family.name}",
            Loop(
                lambda: host.init(key, family, policy), step, policy.iterations, unit="iterations"
            ),
        )
    return host.prior_of(state, family, policy)


def _experts(
    run: RunDirectory, family: HostFamily, key: jax.Array, policy: MetaRLConfig
) -> Experts:
    """Experts of some tasks, each a stage of its own: PPO on one takes minutes."""
    tasks = drawn(jax.random.fold_in(key, EXPERTS), family, policy.expert_tasks)
    count = count_of(tasks)
    steps = number(policy.expert_steps, 12)
    tasks_in_words = f"{count} tasks" if count > 1 else "one task"
    say(
        f"{family.name}: PPO makes experts of {tasks_in_words} first, {steps} steps each. Each is "
        "kept when it is done: stopped before, it begins anew"
    )
    each = [_expert(run, family, key, tasks, i, policy.expert_steps) for i in range(count)]
    return Experts(tasks, jax.tree.map(lambda *agents: jnp.stack(agents), *each))


def _expert(
    run: RunDirectory, family: HostFamily, key: jax.Array, tasks: Task, i: int, steps: int
) -> Agent:
    config = alone_on_host(family.horizon, steps)
    expert_key = jax.random.fold_in(key, EXPERTS + 1 + i)
    # What its leaves belong to; what they are comes from the run.
    like = ppo.new_agent(expert_key, family, config)

    def make() -> tuple[Agent, np.ndarray]:
        task = jax.tree.map(lambda x: x[i], tasks)
        agent, paid = taught_in_simulators(expert_key, family, task, config, f"expert {i + 1}")
        return agent, np.array(paid)

    agent, paid = run.keep_tree(f"expert-{i}", (like, np.zeros(())), make)
    say(f"expert {i + 1} is done: return {float(paid):.1f}, an episode in each of its simulators")
    return agent


def taught_in_simulators(
    key: jax.Array, family: HostFamily, task: Task, config: PPOConfig, what: str
) -> tuple[Agent, float]:
    """`experts.taught_alone` in simulators of its own, told as `what` while it goes on."""
    with (
        closing(family.connect(config.num_envs)) as env,
        Progress(what, config.num_updates, unit="updates") as progress,
    ):
        return taught_alone(key, env, task, config, progress.show)
