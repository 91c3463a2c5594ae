"""Priors: what meta-training leaves behind, and how a new task is learned from it.

Two kinds behind one protocol, published as safetensors and JSON:

- `PosteriorPrior`: a policy that is told what is believed about the task, a latent variable whose
  posterior answers alone move. It adapts by rounds of RLHF.
- `GradientPrior`: an initialisation, and the update rule that was learned with it. It adapts by
  gradient steps, on what the task pays or on a reward that answers adapt likewise.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from metarlhf import files, rlhf
from metarlhf.envs.base import TaskFamily
from metarlhf.envs.naming import is_host
from metarlhf.envs.registry import find, make_family
from metarlhf.errors import WrongFamilyError
from metarlhf.feedback import Library
from metarlhf.meta import reward_gradient
from metarlhf.meta.adaptation import Adapted, adapt_rewards, pays, rlhf_stages
from metarlhf.meta.config import GradientRewardConfig, MetaRLConfig
from metarlhf.meta.inner import InnerLoop, new_agent, play_and_adapt
from metarlhf.meta.tasks import count_of, for_each
from metarlhf.meta.update_rules import RULE, LearnedRule, initial_rule
from metarlhf.networks import Agent, build_agent
from metarlhf.reward import GradientReward, LatentPosterior, LatentReward
from metarlhf.rlhf import RLHFConfig, RLHFState
from metarlhf.rlhf.ask import Answers
from metarlhf.sampling import CompiledSampler, CompiledTaskSampler
from metarlhf.types import Task


class Prior(eqx.Module):
    """What meta-training leaves behind, to adapt to new tasks from."""

    agent: eqx.AbstractVar[Agent]
    library: eqx.AbstractVar[Library | None]
    """Clips to ask about, for which no step is taken in a new task; None where nobody is asked."""
    shape: eqx.AbstractVar[Any]
    """A `PosteriorShape` or `GradientShape`: what has to be known to read the arrays back."""
    by_gradient: eqx.AbstractClassVar[bool]
    """Whether it adapts by gradient steps."""

    @property
    def family(self) -> TaskFamily:
        """The family that this was meta-trained on.

        Raises:
            UnknownTaskError: it is one of host simulators: `experiments.evaluation` adapts there.
        """
        return make_family(self.shape.family)

    @property
    def on_host(self) -> bool:
        """Whether its tasks are in host simulators."""
        return is_host(self.shape.family)

    @property
    def asks(self) -> bool:
        """Whether it learns from answers; else from what tasks pay."""
        return self.library is not None

    @property
    def untaught(self) -> Agent:
        """The agent before it adapts."""
        return self.agent

    @abstractmethod
    def adapt(
        self,
        key: PRNGKeyArray,
        family: TaskFamily,
        task: Task,
        config: RLHFConfig,
        steps: int | None = None,
    ) -> Adapted:
        """Adapt to one task, in one compiled program. Pure; vmap it over tasks.

        Args:
            key: all randomness follows from it.
            family: whose task it is.
            task: without a leading dimension.
            config: how questions are asked and, but for gradient steps, the agent learns.
            steps: gradient steps, of a prior that adapts by them; None: as many as in
                meta-training.
        """

    @abstractmethod
    def stages(
        self,
        key: PRNGKeyArray,
        family: TaskFamily,
        tasks: Task,
        config: RLHFConfig,
        steps: int | None = None,
    ) -> Iterator[Adapted]:
        """Adapt to a batch of tasks: where that stands before, and after each round or step.

        Args: as of `adapt`; leaves of `tasks` have a leading dimension `task`.
        """

    def save(self, folder: Path | str, about: dict[str, Any] | None = None) -> Path:
        """Write it into `folder`; `about` (configuration, figures) goes into its description."""
        description = {"kind": self.shape.kind, "shape": asdict(self.shape), "about": about or {}}
        return files.publish(Path(folder), self, description)


@dataclass(frozen=True)
class PosteriorShape:
    """What has to be known to read a `PosteriorPrior`'s arrays back."""

    kind: ClassVar[str] = "metarlhf prior"
    family: str
    """Name of the task family, as `envs.make` knows it."""
    hidden: tuple[int, ...]
    """Hidden layers of policy and value function."""
    library: int
    """Clips kept to ask about."""
    particles: int
    """Task variables of the posterior."""
    latent_size: int
    """Numbers in each."""
    num_features: int
    """Features that rewards are made of."""
    reward_hidden: tuple[int, ...]
    """Hidden layers of the reward's networks."""

    @classmethod
    def of(cls, **entries: Any) -> "PosteriorShape":
        """As JSON has it."""
        return cls(**entries)

    def blank(self, key: PRNGKeyArray) -> "PosteriorPrior":
        """A prior of this shape that knows nothing."""
        family = make_family(self.family)
        agent_key, model_key = jax.random.split(key)
        agent = build_agent(agent_key, family, self.hidden, context_size=self.latent_size)
        model = LatentReward(
            family,
            key=model_key,
            latent_size=self.latent_size,
            num_features=self.num_features,
            hidden=self.reward_hidden,
        )
        belief = LatentPosterior.prior(model, jnp.zeros((self.particles, self.latent_size)))
        library = Library.blank(family, self.library)
        return PosteriorPrior(agent=agent, belief=belief, library=library, shape=self)


class PosteriorPrior(Prior):
    """A `Prior`: an agent, what is believed about a task at first, and clips to ask about it."""

    by_gradient: ClassVar[bool] = False
    agent: Agent
    belief: LatentPosterior
    library: Library
    shape: PosteriorShape = eqx.field(static=True)

    @property
    def untaught(self) -> Agent:
        """The agent before any answer."""
        return self.agent.with_context(self.belief.context())

    def start(
        self, key: PRNGKeyArray, family: TaskFamily, task: Task, config: RLHFConfig
    ) -> RLHFState:
        """RLHF on one task before its first question, see `rlhf.start`."""
        sampler = CompiledSampler(family, task, config.ppo.num_envs)
        return rlhf.start(key, sampler, self.agent, self.belief, config, self.library)

    def run(
        self, key: PRNGKeyArray, family: TaskFamily, task: Task, config: RLHFConfig
    ) -> RLHFState:
        """RLHF on one task until all answers are spent, in one compiled program. Pure.

        Returns:
            Where it ended: the agent is `ppo.agent`, what it was told `answers`, and what it
            believes about the reward `belief`.

        Raises:
            WrongFamilyError: this was meta-trained on another family.
        """
        return _run(key, family, task, self, config)

    def adapt(
        self,
        key: PRNGKeyArray,
        family: TaskFamily,
        task: Task,
        config: RLHFConfig,
        steps: int | None = None,
    ) -> Adapted:
        """See `Prior.adapt`; there are no gradient steps to count."""
        return Adapted.of(self.run(key, family, task, config))

    def stages(
        self,
        key: PRNGKeyArray,
        family: TaskFamily,
        tasks: Task,
        config: RLHFConfig,
        steps: int | None = None,
    ) -> Iterator[Adapted]:
        """See `Prior.stages`."""
        states = _start_all(key, family.without_termination(), tasks, self, config)
        return rlhf_stages(states, family, tasks, config)


@partial(jax.jit, static_argnames=("family", "config"))
def _run(key, family, task, prior, config) -> RLHFState:
    if prior.shape.family != family.name:
        raise WrongFamilyError(
            f"the prior was meta-trained on {prior.shape.family!r}, not on {family.name!r}: teach "
            "it a task of that family, or meta-train on this one"
        )
    learning = family.without_termination()
    sampler = CompiledSampler(learning, task, config.ppo.num_envs)
    state = prior.start(key, learning, task, config)
    play = lambda state, _: (rlhf.run_round(state, sampler, config)[0], None)
    state, _ = jax.lax.scan(play, state, length=config.rounds)
    return rlhf.finish(state, sampler, config)


@partial(jax.jit, static_argnames=("family", "config"))
def _start_all(key, family, tasks, prior, config) -> RLHFState:
    one = lambda key, task: prior.start(key, family, task, config)
    return jax.vmap(one)(jax.random.split(key, count_of(tasks)), tasks)


@dataclass(frozen=True)
class GradientShape:
    """What has to be known to read a `GradientPrior`'s arrays back, and to adapt it."""

    kind: ClassVar[str] = "metarlhf gradient prior"
    family: str
    """Name of the task family, as `envs.make` knows it."""
    policy: MetaRLConfig
    """How the policy adapts."""
    model: GradientRewardConfig | None = None
    """How the reward adapts; None: the task pays, and nobody is asked."""
    library: int = 0
    """Clips kept to ask about."""

    @classmethod
    def of(cls, family: str, policy: dict[str, Any], model: Any, library: int) -> "GradientShape":
        """As JSON has it."""

        def tuples(values: dict[str, Any]) -> dict[str, Any]:
            return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

        reward = GradientRewardConfig(**tuples(model)) if model else None
        return cls(find(family).name, MetaRLConfig(**tuples(policy)), reward, int(library))

    def blank(self, key: PRNGKeyArray) -> "GradientPrior":
        """A prior of this shape that knows nothing."""
        family = find(self.family)
        agent_key, model_key = jax.random.split(key)
        agent = new_agent(agent_key, family, self.policy)
        rule = initial_rule(jax.random.fold_in(agent_key, RULE), agent.actor, self.policy)
        belief = library = None
        if self.model is not None and isinstance(family, TaskFamily):
            belief = reward_gradient.create(model_key, family, self.model)
            library = Library.blank(family, self.library)
        return GradientPrior(agent=agent, rule=rule, belief=belief, library=library, shape=self)


class GradientPrior(Prior):
    """A `Prior`: an initialisation, with the update rule that it was learned for."""

    by_gradient: ClassVar[bool] = True
    agent: Agent
    rule: LearnedRule
    belief: GradientReward | None
    library: Library | None
    shape: GradientShape = eqx.field(static=True)

    def loops(
        self,
        key: PRNGKeyArray,
        family: TaskFamily,
        tasks: Task,
        config: RLHFConfig,
        steps: int | None = None,
    ) -> tuple[InnerLoop, Answers | None]:
        """Ask, adapt the reward, and take `steps` gradient steps of the policy, in each task.

        Questions are about the prior's own clips, as `config` says, and all come before the first
        step. Each step learns from `shape.policy.episodes` fresh episodes of its task.

        Args: as of `Prior.stages`.

        Returns:
            What the inner loops left, and what was asked in each task; None where the task pays.

        Raises:
            ValueError: `config` asks to hold or watch practice by PPO, of which there is none.
        """
        steps = self.shape.policy.inner_steps if steps is None else steps
        return _loops(key, family, tasks, self, config, steps)

    def adapt(
        self,
        key: PRNGKeyArray,
        family: TaskFamily,
        task: Task,
        config: RLHFConfig,
        steps: int | None = None,
    ) -> Adapted:
        """See `Prior.adapt`."""
        return _adapt_alone(key, family, task, self, config, steps)

    def stages(
        self,
        key: PRNGKeyArray,
        family: TaskFamily,
        tasks: Task,
        config: RLHFConfig,
        steps: int | None = None,
    ) -> Iterator[Adapted]:
        """See `Prior.stages`; all answers are given before the first step."""
        loop, answers = self.loops(key, family, tasks, config, steps)
        for step in range(loop.returns.shape[0]):
            yield self._after(loop, answers, family, step)

    def _after(
        self, loop: InnerLoop, answers: Answers | None, family: TaskFamily, step: int
    ) -> Adapted:
        collections, count = loop.returns.shape[:2]
        taken = range(collections)[step]
        labels = answers.count if answers and taken else jnp.zeros(count)
        steps = jnp.full(count, float(taken * self.shape.policy.episodes * family.horizon))
        agents = jax.tree.map(lambda x: x[step], loop.agents)
        return Adapted(agents, labels, steps, answers.feedback if answers else None)


@partial(jax.jit, static_argnames=("family", "config", "steps"))
def _loops(key, family, tasks, prior, config, steps) -> tuple[InnerLoop, Answers | None]:
    if config.held_by:
        raise ValueError(f"{config.held_by} is about practice by PPO, not about gradient steps")
    learning = family.without_termination() if prior.asks else family
    ask_key, play_key = jax.random.split(key)
    count = count_of(tasks)
    answers = reward = None
    if prior.asks:
        keys = jax.random.split(ask_key, count)
        rewards, answers = adapt_rewards(keys, prior.belief, prior.library, learning, tasks, config)
        reward = pays(rewards)
    agents = for_each(count, prior.agent)
    loop = play_and_adapt(
        play_key, CompiledTaskSampler(learning), tasks, agents, prior.rule, prior.shape.policy,
        steps, reward, reward,
    )  # fmt: skip
    return loop, answers


@partial(jax.jit, static_argnames=("family", "config", "steps"))
def _adapt_alone(key, family, task, prior, config, steps) -> Adapted:
    alone = jax.tree.map(lambda x: x[None], task)
    loop, answers = prior.loops(key, family, alone, config, steps)
    return jax.tree.map(lambda x: x[0], prior._after(loop, answers, family, -1))


def load_prior(folder: Path | str, family: str | None = None) -> PosteriorPrior | GradientPrior:
    """Read a prior that `Prior.save` wrote, of either kind.

    Args:
        folder: where it is.
        family: that it must have been meta-trained on; None: any.

    Raises:
        PublishedFileError: there is none, or it is damaged, changed or of another version.
        WrongFamilyError: it was meta-trained on another family than `family`.
    """
    folder = Path(folder)
    by_gradient = files.kind(folder) == GradientShape.kind
    kind = GradientShape if by_gradient else PosteriorShape
    description = files.describe(folder, kind.kind)
    shape = files.shape_in(folder, description, kind.of, "prior")
    if family is not None and find(family).name != shape.family:
        raise WrongFamilyError(
            f"the prior in {folder} was meta-trained on {shape.family!r}, not on {family!r}: "
            f"name a task of {shape.family!r}, or meta-train on {family!r}"
        )
    like = jax.eval_shape(lambda: shape.blank(jax.random.key(0)))
    return files.read(folder, like, description)
