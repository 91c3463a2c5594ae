"""What meta-training by gradients leaves behind, and how it is taught a new task."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Key, PRNGKeyArray

from metarlhf import files
from metarlhf.envs.base import TaskFamily
from metarlhf.envs.registry import find, make_family
from metarlhf.errors import PublishedFileError
from metarlhf.feedback import Library
from metarlhf.meta import reward_gradient
from metarlhf.meta.config import GradientRewardConfig, MetaRLConfig
from metarlhf.meta.inner import InnerLoop, RewardSource, new_agent, play_and_adapt
from metarlhf.meta.prior import Prior, check_family
from metarlhf.meta.prior import load as load_posterior
from metarlhf.meta.tasks import count_of, for_each
from metarlhf.meta.update_rules import RULE, LearnedRule, initial_rule
from metarlhf.networks import Agent
from metarlhf.reward import GradientReward, LearnedReward
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.ask import Answers, ask_about
from metarlhf.rlhf.loop import pays as learned_reward
from metarlhf.sampling import CompiledTaskSampler
from metarlhf.types import Task

KIND = "metarlhf gradient prior"


@dataclass(frozen=True)
class GradientShape:
    """What has to be known to read such a prior's arrays back, and to adapt it."""

    family: str
    """Name of the task family, as `envs.make` knows it."""
    policy: MetaRLConfig
    """How the policy adapts."""
    model: GradientRewardConfig | None = None
    """How the reward adapts; None: the task pays, and nobody is asked."""
    library: int = 0
    """Clips kept to ask about."""


class GradientPrior(eqx.Module):
    """An initialisation, with the update rule that it was learned for."""

    agent: Agent
    rule: LearnedRule
    belief: GradientReward | None
    library: Library | None
    shape: GradientShape = eqx.field(static=True)

    @property
    def family(self) -> TaskFamily:
        """The family that this was meta-trained on.

        Raises:
            UnknownTaskError: its simulators step outside the program: `meta.host` teaches there.
        """
        return make_family(self.shape.family)

    @property
    def untaught(self) -> Agent:
        """The agent before any answer."""
        return self.agent


class Adapted(NamedTuple):
    """What came of teaching a batch of tasks."""

    loop: InnerLoop
    """Agents and episodes, before any gradient step and after each."""
    answers: Answers | None
    """What was asked, leaves with a leading `task`; None where the task pays."""


@partial(jax.jit, static_argnames=("family", "config", "steps"))
def adapt_by_gradient(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    prior: GradientPrior,
    config: RLHFConfig,
    steps: int,
) -> Adapted:
    """Ask, adapt the reward, and take so many gradient steps of the policy, in each of `tasks`.

    Questions are about the prior's own clips, as `config` says. Each step of the policy learns from
    `prior.shape.policy.episodes` fresh episodes of its task. Where the task pays, nobody is asked.

    Raises:
        ValueError: `config` asks to hold or watch practice by PPO, of which there is none.
    """
    if config.held_by:
        raise ValueError(f"{config.held_by} is about practice by PPO, not about gradient steps")
    learning = family.without_termination() if prior.belief is not None else family
    ask_key, play_key = jax.random.split(key)
    count = count_of(tasks)
    answers = reward = None
    if prior.belief is not None and prior.library is not None:
        keys = jax.random.split(ask_key, count)
        rewards, answers = adapt_rewards(keys, prior.belief, prior.library, learning, tasks, config)
        reward = pays(rewards)
    agents = for_each(count, prior.agent)
    loop = play_and_adapt(
        play_key, CompiledTaskSampler(learning), tasks, agents, prior.rule, prior.shape.policy,
        steps, reward, reward,
    )  # fmt: skip
    return Adapted(loop, answers)


def adapt_rewards(
    keys: Key[Array, " task"],
    reward: GradientReward,
    library: Library,
    family: TaskFamily,
    tasks: Task,
    config: RLHFConfig,
) -> tuple[LearnedReward, Answers]:
    """Ask about the library in every task: the reward that pays for it, and the answers.

    `keys` has one for each of `tasks`; what is returned has leaves with a leading `task`.
    """

    def one(key: PRNGKeyArray, task: Task) -> tuple[LearnedReward, Answers]:
        belief, answers = ask_about(key, reward, library, family, task, config)
        return learned_reward(belief, library.clips, family, answers, config), answers

    return jax.vmap(one)(keys, tasks)


def pays(rewards: LearnedReward) -> RewardSource:
    """Each task's trajectories by the reward of that task."""
    return lambda trajectory: jax.vmap(lambda reward, t: reward(t))(rewards, trajectory)


def blank(key: PRNGKeyArray, shape: GradientShape) -> GradientPrior:
    """A prior that knows nothing, of the given shape."""
    family, policy, model = find(shape.family), shape.policy, shape.model
    agent_key, model_key = jax.random.split(key)
    agent = new_agent(agent_key, family, policy)
    rule = initial_rule(jax.random.fold_in(agent_key, RULE), agent.actor, policy)
    if model is None or not isinstance(family, TaskFamily):
        return GradientPrior(agent, rule, None, None, shape)
    belief = reward_gradient.create(model_key, family, model)
    return GradientPrior(agent, rule, belief, Library.blank(family, shape.library), shape)


def publish(prior: GradientPrior, folder: Path | str, about: dict[str, Any] | None = None) -> Path:
    """Write `prior` into `folder`; `about` goes into its description."""
    description = {"kind": KIND, "shape": asdict(prior.shape), "about": about or {}}
    return files.publish(Path(folder), prior, description)


def load(folder: Path | str, family: str | None = None) -> GradientPrior:
    """Read a prior that `publish` wrote.

    Raises:
        PublishedFileError: there is none, or it is damaged, changed or of another version.
        WrongFamilyError: it was meta-trained on another family than `family`.
    """
    folder = Path(folder)
    description = files.describe(folder, KIND)
    try:
        shape = _shape(description["shape"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PublishedFileError(
            f"{folder / files.DESCRIPTION} does not say of what shape the prior is: it was "
            "changed. Fetch it anew"
        ) from error
    check_family(folder, shape.family, family)
    like = jax.eval_shape(lambda: blank(jax.random.key(0), shape))
    return files.read(folder, like, description)


def _shape(entries: dict[str, Any]) -> GradientShape:
    def tuples(values: dict[str, Any]) -> dict[str, Any]:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

    model = entries["model"]
    return GradientShape(
        family=find(entries["family"]).name,
        policy=MetaRLConfig(**tuples(entries["policy"])),
        model=GradientRewardConfig(**tuples(model)) if model else None,
        library=int(entries["library"]),
    )


def load_prior(folder: Path | str, family: str | None = None) -> Prior | GradientPrior:
    """Read a prior of either kind, as `metarlhf meta-train` publishes it.

    Args:
        folder: where it was published.
        family: name of the task family that it must have been meta-trained on; None: any.

    Raises:
        PublishedFileError: there is none, or it is damaged, changed or of another version.
        WrongFamilyError: it was meta-trained on another family than `family`.
    """
    if files.kind(Path(folder)) == KIND:
        return load(folder, family)
    return load_posterior(folder, family)
