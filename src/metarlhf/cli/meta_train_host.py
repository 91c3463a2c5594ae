"""Meta-training on host simulators, in a run's directory."""

from contextlib import closing
from typing import Any

import jax
import numpy as np

from metarlhf import ppo
from metarlhf.cli.runs import say
from metarlhf.envs import HostFamily
from metarlhf.meta import outer
from metarlhf.meta.config import JointGradientConfig, MetaRLConfig
from metarlhf.meta.guided import Experts, train_alone, train_experts
from metarlhf.meta.prior import GradientPrior
from metarlhf.networks import Agent
from metarlhf.ppo import PPOConfig
from metarlhf.report.wording import number
from metarlhf.runs import RunDirectory, drive
from metarlhf.runs.progress import Progress
from metarlhf.sampling import HostTaskSampler, num_simulators
from metarlhf.training import Callback
from metarlhf.types import Task


def meta_train_host(
    run: RunDirectory, family: HostFamily, seed: int, config: JointGradientConfig
) -> GradientPrior:
    """Meta-train, or go on where it stopped; the tasks pay."""
    policy, key, experts = config.policy, jax.random.key(seed), None
    if policy.method == "guided":
        experts = _experts(run, family, key, policy)
    simulators = num_simulators(policy.meta_batch, policy.episodes)
    with closing(family.connect(simulators)) as env:
        sampler = HostTaskSampler(family, env)
        loop = outer.training(key, sampler, policy, experts)
        state = drive(run, f"meta-training on {family.name}", loop)
    return outer.prior_of(state, family, policy)


def _experts(
    run: RunDirectory, family: HostFamily, key: jax.Array, policy: MetaRLConfig
) -> Experts:
    """Experts of some tasks, each a stage of its own: PPO on one takes minutes."""

    def train(which: int, key: jax.Array, task: Task, config: PPOConfig) -> Agent:
        # What its leaves belong to; what they are comes from the run.
        like = ppo.new_agent(key, family, config)
        what = f"expert {which + 1}"

        def make() -> tuple[Agent, np.ndarray]:
            agent, paid = train_alone_shown(key, family, task, config, what)
            return agent, np.array(paid)

        agent, paid = run.keep_tree(f"expert-{which}", (like, np.zeros(())), make)
        say(f"{what} is done: return {float(paid):.1f}, an episode in each of its simulators")
        return agent

    say(
        f"{family.name}: PPO makes experts of up to {policy.expert_tasks} tasks first, "
        f"{number(policy.expert_steps, 12)} steps each. Each is kept when it is done: stopped "
        "before, it begins anew"
    )
    return train_experts(key, family, policy, train)


class _Shown(Callback):
    def __init__(self, progress: Progress):
        self.progress = progress

    def after_step(self, done: int, state: Any, metrics: dict[str, Any]) -> None:
        paid = metrics["episode_return"]
        self.progress.show(done, {} if paid is None else {"return": paid})


def train_alone_shown(
    key: jax.Array, family: HostFamily, task: Task, config: PPOConfig, what: str
) -> tuple[Agent, float]:
    """`guided.train_alone`, shown as `what` while it goes on."""
    with Progress(what, config.num_updates, unit="updates") as progress:
        return train_alone(key, family, task, config, [_Shown(progress)])
