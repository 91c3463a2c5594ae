"""The loop: collect, ask, adapt the reward, PPO; the same from scratch and from a prior.

What differs is only what it starts with: a fresh agent and an ensemble of random reward networks,
or an agent and a belief that were meta-learned.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Shown, TaskFamily, may_end
from metarlhf.feedback import Library, blank, cut, empty
from metarlhf.networks import Agent
from metarlhf.reward import Belief, Ensemble, EnsembleConfig, Learned, LearnedReward
from metarlhf.rlhf.ask import Answers, ask
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rollout import play_episodes
from metarlhf.types import Segment, Task, Trajectory


class Candidates(NamedTuple):
    """Clips of the last few rounds, and which of them may be shown."""

    clips: Segment
    showable: Bool[Array, " clip"]


class RLHFState(eqx.Module):
    """All there is to know to go on: agent, belief, answers, clips to ask about, counters, key."""

    ppo: ppo.TrainState
    belief: Belief
    answers: Answers
    reward: LearnedReward
    candidates: Candidates
    library: Segment
    steps: Integer[Array, ""]
    round: Integer[Array, ""]
    key: PRNGKeyArray


def start(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    agent: Agent,
    belief: Belief,
    config: RLHFConfig,
    library: Library | None = None,
) -> RLHFState:
    """Begin to teach `agent` the task, from what `belief` holds likely.

    The clips of `library` may be asked about in every round, beside what the agent does. The agent
    learns on `family.without_termination()`: an episode that ends where the task is done would give
    away what is wanted.
    """
    family = family.without_termination()
    if library is None:
        library = Library.blank(family, 0)
    told = is_told(agent, belief)
    if told and not config.ask_envs and not len(library):
        raise ValueError("there is nothing to ask about: ask_envs is 0, and there is no library")
    if not told:
        check_steps(family, config)
    ppo_key, key = jax.random.split(key)
    train = tell(ppo.init(ppo_key, family, task, config.learning, agent), belief)
    room = _episodes_clips(family, config) if told else clips_in_a_round(family, config)
    return begin(key, train, belief, family, library.seen_under(family, task), room, config)


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
    )


def from_scratch(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    config: RLHFConfig,
    ensemble: EnsembleConfig | None = None,
) -> RLHFState:
    """Begin with an untrained agent and an ensemble of random reward networks."""
    agent_key, belief_key, key = jax.random.split(key, 3)
    agent = ppo.new_agent(agent_key, family, config.ppo)
    belief = Ensemble.create(belief_key, family, ensemble or EnsembleConfig())
    return start(key, family, task, agent, belief, config)


def run_round(
    state: RLHFState, family: TaskFamily, task: Task, config: RLHFConfig
) -> tuple[RLHFState, dict[str, Float[Array, ""]]]:
    """One round with a simulated teacher: look, ask, take in, practise. Pure; vmap it."""
    key, look_key, ask_key, take_key = jax.random.split(state.key, 4)
    state, trajectory = look(look_key, state, family, task, config)
    answers = ask(
        ask_key, state.belief, *choice(state), state.answers, family.reward_bounds, config
    )
    learning = family.without_termination()
    state = take_in(take_key, state, answers, trajectory, learning, config)
    state = eqx.tree_at(lambda s: (s.round, s.key), state, (state.round + 1, key))
    return practise(state, family, task, config, config.updates - learns(state, config))


def look(
    key: PRNGKeyArray, state: RLHFState, family: TaskFamily, task: Task, config: RLHFConfig
) -> tuple[RLHFState, Trajectory | None]:
    """Let the agent play, and remember its clips to ask about.

    An agent that is told what is believed shows what it would do if this or that were wanted. Any
    other shows what it does, and its next update learns from that very trajectory. None where
    nobody plays, as there is a library to ask about.
    """
    family, train, trajectory = family.without_termination(), state.ppo, None
    if not is_told(train.agent, state.belief):
        train, trajectory = ppo.play(train, family, task, config.learning)
    elif config.ask_envs:
        trajectory = explore(key, family, task, train.agent, state.belief, config)
    return seen(state, train, trajectory, family), trajectory


def seen(
    state: RLHFState, train: ppo.TrainState, trajectory: Trajectory | None, family: Shown
) -> RLHFState:
    """Remember the clips of what was played, by an agent that is now in `train`."""
    candidates = _remember(state.candidates, _clips_of(trajectory, family))
    steps = state.steps + (0 if trajectory is None else trajectory.reward.size)
    changed = lambda s: (s.ppo, s.candidates, s.steps)
    return eqx.tree_at(changed, state, (train, candidates, steps))


def take_in(
    key: PRNGKeyArray,
    state: RLHFState,
    answers: Answers,
    trajectory: Trajectory | None,
    family: Shown,
    config: RLHFConfig,
) -> RLHFState:
    """Believe what all answers so far say, and learn from what was just played.

    `family` is as it was played in: without termination, where that can be left out.
    """
    belief = state.belief.adapt(key, answers.feedback)
    played = _clips_of(trajectory, family).clips
    reference = state.library if trajectory is None else played
    reward, train = pays(belief, reference, family, answers, config), state.ppo
    if learns(state, config):
        assert trajectory is not None
        train, _ = ppo.learn(train, reward(trajectory), config.learning)
    elif trajectory is not None and not is_told(train.agent, state.belief):
        train = ppo.skip(train, trajectory, config.learning)
    changed = lambda s: (s.ppo, s.belief, s.answers, s.reward)
    return eqx.tree_at(changed, state, (tell(train, belief), belief, answers, reward))


def pays(
    belief: Belief, reference: Segment, family: Shown, answers: Answers, config: RLHFConfig
) -> LearnedReward:
    """What a policy is paid, as careful as `config` says."""
    clip_to = answers.feedback if config.clip_reward else None
    return LearnedReward(belief, reference, may_end(family), config.pessimism, clip_to)


def learns(state: RLHFState, config: RLHFConfig) -> bool:
    """Whether a round's first update learns from what was played to ask about."""
    return config.updates > 0 and not is_told(state.ppo.agent, state.belief)


def practise(
    state: RLHFState, family: TaskFamily, task: Task, config: RLHFConfig, updates: int
) -> tuple[RLHFState, dict[str, Float[Array, ""]]]:
    """`updates` of PPO on the reward as it is believed to be now."""
    if not updates:
        return state, {}
    family = family.without_termination()
    step = lambda train, _: ppo.iterate(train, family, task, config.learning, state.reward)
    train, metrics = jax.lax.scan(step, state.ppo, length=updates)
    steps = state.steps + updates * config.ppo.batch_size
    state = eqx.tree_at(lambda s: (s.ppo, s.steps), state, (train, steps))
    return state, jax.tree.map(lambda x: x[-1], metrics)


def explore(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    agent: Agent,
    belief: Belief,
    config: RLHFConfig,
) -> Trajectory:
    """Episodes to ask about, each played as if the task were one that the belief holds possible."""
    context_key, episode_key = jax.random.split(key)
    contexts = belief.sample_contexts(context_key, config.ask_envs)

    def episode(key, context):
        return play_episodes(key, family, task, agent.with_context(context).actor, 1)

    trajectory = jax.vmap(episode)(jax.random.split(episode_key, config.ask_envs), contexts)
    return jax.tree.map(lambda x: x[:, 0], trajectory)


def learned(
    before: Belief, state: RLHFState, shown: Shown, annotators: Sequence[str] = ()
) -> Learned:
    """What came of a lesson that began with `before`, to be published; who answered, by number.

    Not to be compiled: how many clips there are is read from the state.
    """
    clips, showable = choice(state)
    seen = clips[np.flatnonzero(showable)]
    feedback = state.answers.feedback
    return Learned(before, state.belief, feedback, seen, shown, tuple(annotators))


def is_told(agent: Agent, belief: Belief) -> bool:
    """Whether the agent was made to be told what this kind of belief has to say about a task."""
    size = agent.actor.context.shape[0]
    return size > 0 and belief.context().shape[0] == size


def tell(train: ppo.TrainState, belief: Belief) -> ppo.TrainState:
    """Tell the agent what is believed about the task, if it was made to be told."""
    if not is_told(train.agent, belief):
        return train
    return eqx.tree_at(lambda t: t.agent, train, train.agent.with_context(belief.context()))


def _clips_of(trajectory: Trajectory | None, family: Shown) -> Candidates:
    """Its clips, half of each shared with the next."""
    if trajectory is None:
        return Candidates(blank(family, 0), jnp.zeros(0, bool))
    return Candidates(*cut(trajectory, family.segment_length, stride(family)))


def _remember(old: Candidates, new: Candidates) -> Candidates:
    """The newest clips that there is room for."""
    room = old.showable.shape[0]
    return jax.tree.map(lambda a, b: jnp.concatenate([b, a])[:room], old, new)


def choice(state: RLHFState) -> Candidates:
    """All clips that may be asked about: the agent's own, and the library's."""
    kept = Candidates(state.library, jnp.ones(state.library.obs.shape[0], bool))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), state.candidates, kept)


def check_steps(family: Shown, config: RLHFConfig) -> None:
    """Refuse to play less between two updates than a clip has.

    Raises:
        ValueError: it is.
    """
    if config.ppo.num_steps < family.segment_length:
        raise ValueError(
            f"ppo.num_steps is {config.ppo.num_steps}, but clips of {family.name} have "
            f"{family.segment_length} steps: play at least so many between two updates"
        )


def clips_in_a_round(family: Shown, config: RLHFConfig) -> int:
    """Of what an update learns from."""
    return config.ppo.num_envs * _clips_in(config.ppo.num_steps, family)


def _episodes_clips(family: TaskFamily, config: RLHFConfig) -> int:
    return config.ask_envs * _clips_in(family.horizon, family)


def _clips_in(num_steps: int, family: Shown) -> int:
    return (num_steps - family.segment_length) // stride(family) + 1


def stride(family: Shown) -> int:
    """Steps from one clip's beginning to the next one's."""
    return max(1, family.segment_length // 2)
