"""How the loop begins: with a fresh agent and an ensemble of random reward networks, or with an
agent and a belief that were meta-learned.
"""

from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Shown, TaskFamily
from metarlhf.feedback import Library, blank, empty
from metarlhf.networks import Agent
from metarlhf.reward import Belief, Ensemble, EnsembleConfig
from metarlhf.rlhf.ask import Answers
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rlhf.constraints import Leash, Never
from metarlhf.rlhf.loop import (
    NEVER,
    Candidates,
    RLHFState,
    check_steps,
    clips_in_a_round,
    clips_in_episodes,
    is_told,
    pays,
    tell,
)
from metarlhf.rlhf.watch import Watch
from metarlhf.sampling import CompiledSampler, Sampler
from metarlhf.types import Segment


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
        library: clips of a compiled family that may be asked about in every round, beside what the
            agent does.

    Raises:
        ValueError: there would be nothing to ask about, or clips do not fit what is collected.
    """
    sampler = sampler.without_termination()
    family = sampler.shown
    told = is_told(agent, belief)
    if told and not config.ask_envs and not (library is not None and len(library)):
        raise ValueError("there is nothing to ask about: ask_envs is 0, and there is no library")
    if not told:
        check_steps(family, config)
    ppo_key, key = jax.random.split(key)
    train = tell(ppo.init(ppo_key, sampler, config.learning, agent), belief)
    room = clips_in_episodes(family, config) if told else clips_in_a_round(family, config)
    clips = blank(family, 0)
    if library is not None:
        assert isinstance(sampler, CompiledSampler)
        clips = library.seen_under(cast(TaskFamily, sampler.env), sampler.task)
    return begin(key, train, belief, family, clips, room, config)


def begin(
    key: PRNGKeyArray,
    train: ppo.TrainState,
    belief: Belief,
    family: Shown,
    library: Segment,
    clips: int,
    config: RLHFConfig,
) -> RLHFState:
    """Nothing said yet; each round has so many `clips` to ask about, beside those of `library`."""
    room = config.remembered_rounds * clips
    comparisons, ratings = config.labels, 0
    if config.feedback == "ratings":
        comparisons, ratings = ratings, comparisons
    if config.checks and config.watch.asks:
        comparisons += config.watch.budget
    like = blank(family, 1)
    nothing = Answers(empty(like[0], comparisons, ratings), jnp.zeros((), jnp.int32))
    return RLHFState(
        ppo=train,
        belief=belief,
        answers=nothing,
        reward=pays(belief, like, family, nothing, config),
        candidates=Candidates(blank(family, room), jnp.zeros(room, bool)),
        library=library,
        steps=jnp.zeros((), jnp.int32),
        round=jnp.zeros((), jnp.int32),
        key=key,
        leash=Leash.on(train.agent.actor) if config.leash else None,
        watch=Watch.over(train.agent) if config.checks else None,
        never=Never.start(jax.random.fold_in(key, NEVER), family, config.never)
        if config.never.clips
        else None,
    )


def from_scratch(
    key: PRNGKeyArray,
    sampler: Sampler,
    config: RLHFConfig,
    ensemble: EnsembleConfig | None = None,
) -> RLHFState:
    """Begin with an untrained agent and an ensemble of random reward networks."""
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
