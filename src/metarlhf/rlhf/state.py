"""What RLHF knows, and how it begins: from scratch, or with an agent and a belief that were
meta-learned.
"""

from typing import NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Shown, TaskFamily, may_end
from metarlhf.feedback import Library, blank, empty
from metarlhf.networks import Agent
from metarlhf.reward import Belief, Ensemble, EnsembleConfig, LearnedReward
from metarlhf.rlhf.ask import Answers
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rlhf.constraints import CostConstraint, KLPenalty
from metarlhf.sampling import CompiledSampler, Sampler
from metarlhf.types import Segment

# Folded into keys that others are drawn from, too: a cost model, and the clips that are marked.
COST_KEY = 0x6E657665


class Candidates(NamedTuple):
    """Clips of the last few rounds, and which of them may be shown."""

    clips: Segment
    showable: Bool[Array, " clip"]


class CheckState(eqx.Module):
    """What the checks for over-optimisation have come to, see `WatchConfig`."""

    best: Agent
    """The policy that people liked best, and its value function."""
    count: Integer[Array, ""]
    """Checks so far."""
    lost: Integer[Array, ""]
    """Checks in a row in which reward and answers parted."""
    halted: Bool[Array, ""]
    """Nothing more is learned."""
    asked: Integer[Array, ""]
    """Answers given."""
    liked: Float[Array, ""]
    """How often the last check's newest policy was liked better; a half before the first."""
    foreseen: Float[Array, ""]
    """How often the reward said it would be."""

    @staticmethod
    def start(agent: Agent) -> "CheckState":
        """Before the first check, with `agent` as the best."""
        zero, half = jnp.zeros((), jnp.int32), jnp.full((), 0.5, jnp.float32)
        return CheckState(agent, zero, zero, jnp.zeros((), bool), zero, half, half)

    @property
    def parted(self) -> Bool[Array, ""]:
        """Whether the last check's answers were against what the reward said."""
        return (self.liked < 0.5) & (self.foreseen > 0.5)


class RLHFState(eqx.Module):
    """All there is to know to go on: agent, belief, answers, clips to ask about, counters, key."""

    ppo: ppo.TrainState
    belief: Belief
    answers: Answers
    reward: LearnedReward
    candidates: Candidates
    library: Segment
    """Clips that may be asked about in every round."""
    steps: Integer[Array, ""]
    """Of the environments so far, all of them together."""
    round: Integer[Array, ""]
    key: PRNGKeyArray
    kl_penalty: KLPenalty | None = None
    checks: CheckState | None = None
    cost_constraint: CostConstraint | None = None


def start(
    key: PRNGKeyArray,
    sampler: Sampler,
    agent: Agent,
    belief: Belief,
    config: RLHFConfig,
    library: Library | None = None,
) -> RLHFState:
    """Begin to teach `agent` the sampler's task, from what `belief` holds likely.

    Args:
        key: all randomness follows from it.
        sampler: who acts. It learns without termination: an episode that ends where the task is
            done would give away what is wanted.
        agent: as meta-learned, or untrained.
        belief: about the reward.
        config: how the agent asks and learns.
        library: clips of a compiled family that may be asked about in every round, in addition to
            what the agent does.

    Raises:
        ValueError: there would be nothing to ask about, or clips do not fit what is collected.
    """
    sampler = sampler.without_termination()
    family = sampler.shown
    conditioned = is_conditioned(agent, belief)
    if conditioned and not config.ask_envs and not (library is not None and len(library)):
        raise ValueError("there is nothing to ask about: ask_envs is 0, and there is no library")
    if not conditioned:
        _check_steps(family, config)
    ppo_key, key = jax.random.split(key)
    train = condition(ppo.init(ppo_key, sampler, config.learning, agent), belief)
    clips = blank(family, 0)
    if library is not None:
        assert isinstance(sampler, CompiledSampler)
        clips = library.seen_under(cast(TaskFamily, sampler.env), sampler.task)
    count = clips_in_episodes(family, config) if conditioned else clips_in_rollout(family, config)
    room = config.remembered_rounds * count
    comparisons, ratings = config.labels, 0
    if config.feedback == "ratings":
        comparisons, ratings = ratings, comparisons
    if config.checks and config.watch.asks:
        comparisons += config.watch.budget
    like, constraint = blank(family, 1), None
    if config.never.clips:
        cost_key = jax.random.fold_in(key, COST_KEY)
        constraint = CostConstraint.start(cost_key, family, config.never)
    nothing = Answers(empty(like[0], comparisons, ratings), jnp.zeros((), jnp.int32))
    return RLHFState(
        ppo=train,
        belief=belief,
        answers=nothing,
        reward=learned_reward(belief, like, family, nothing, config),
        candidates=Candidates(blank(family, room), jnp.zeros(room, bool)),
        library=clips,
        steps=jnp.zeros((), jnp.int32),
        round=jnp.zeros((), jnp.int32),
        key=key,
        kl_penalty=KLPenalty.start(train.agent.actor) if config.leash else None,
        checks=CheckState.start(train.agent) if config.checks else None,
        cost_constraint=constraint,
    )


def from_scratch(
    key: PRNGKeyArray,
    sampler: Sampler,
    config: RLHFConfig,
    ensemble: EnsembleConfig | None = None,
) -> RLHFState:
    """Begin with an untrained agent and an ensemble of random reward networks.

    Args:
        key: all randomness follows from it.
        sampler: who acts; without termination, as of `start`.
        config: how the agent asks and learns.
        ensemble: what the reward networks are, and how they are fitted.

    Raises:
        ValueError: the sampler does not say what people are shown.
    """
    sampler = sampler.without_termination()
    if sampler.shown is None:
        raise ValueError(
            f"nobody says what people are shown of {sampler.name}: give the sampler `shown`, such "
            "as ShownEnv.of(env, 50)"
        )
    agent_key, belief_key, key = jax.random.split(key, 3)
    agent = ppo.new_agent(agent_key, sampler.spaces, config.ppo)
    belief = Ensemble.create(belief_key, sampler.shown, ensemble or EnsembleConfig())
    return start(key, sampler, agent, belief, config)


def learned_reward(
    belief: Belief, reference: Segment, family: Shown, answers: Answers, config: RLHFConfig
) -> LearnedReward:
    """The reward that the policy is trained on, as careful as `config` says.

    Args:
        belief: about the reward.
        reference: clips on which the reward is standardised.
        family: what the agent acts in.
        answers: all so far.
        config: of RLHF.
    """
    clip_to = answers.feedback if config.clip_reward else None
    return LearnedReward(belief, reference, may_end(family), config.pessimism, clip_to)


def is_conditioned(agent: Agent, belief: Belief) -> bool:
    """Whether the agent takes this kind of belief's context as an input."""
    size = agent.actor.context.shape[0]
    return size > 0 and belief.context().shape[0] == size


def condition(train: ppo.TrainState, belief: Belief) -> ppo.TrainState:
    """The training state of an agent that is conditioned on the belief; others stay as they are."""
    if not is_conditioned(train.agent, belief):
        return train
    return eqx.tree_at(lambda t: t.agent, train, train.agent.with_context(belief.context()))


def askable_clips(state: RLHFState) -> Candidates:
    """All clips that may be asked about: the agent's own, and the library's."""
    kept = Candidates(state.library, jnp.ones(state.library.obs.shape[0], bool))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), state.candidates, kept)


def clips_in_rollout(family: Shown, config: RLHFConfig) -> int:
    """How many clips are cut from what an update learns from."""
    return config.ppo.num_envs * _clips_in(config.ppo.num_steps, family)


def clips_in_episodes(family: Shown, config: RLHFConfig) -> int:
    """How many clips are cut from the episodes that are played to be asked about."""
    return config.ask_envs * _clips_in(cast(TaskFamily, family).horizon, family)


def clip_stride(family: Shown) -> int:
    """Steps from one clip's beginning to the next one's: half of each is shared with the next."""
    return max(1, family.segment_length // 2)


def _clips_in(num_steps: int, family: Shown) -> int:
    return (num_steps - family.segment_length) // clip_stride(family) + 1


def _check_steps(family: Shown, config: RLHFConfig) -> None:
    if config.ppo.num_steps < family.segment_length:
        raise ValueError(
            f"ppo.num_steps is {config.ppo.num_steps}, but clips of {family.name} have "
            f"{family.segment_length} steps: play at least so many between two updates"
        )
