"""The loop: collect, ask, adapt the reward, PPO; the same from scratch and from a prior.

What differs is only what it starts with, see `start`.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Shown, may_end
from metarlhf.feedback import blank, cut
from metarlhf.networks import Agent
from metarlhf.reward import Belief, Learned, LearnedReward
from metarlhf.rlhf.ask import Answers, ask
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rlhf.constraints import Forbids, Leash, Never, look_over
from metarlhf.rlhf.watch import Watch
from metarlhf.sampling import CompiledSampler, Sampler
from metarlhf.types import Segment, Trajectory

# Folded into keys that others are drawn from, too: a cost model, and what is looked over.
NEVER = 0x6E657665

Metrics = dict[str, Float[Array, ""]]


def compile_if_pure(function: Callable[..., Any], sampler: Sampler) -> Callable[..., Any]:
    """The function, as one compiled program where the sampler that it is called with is pure."""
    return _compiled(function) if sampler.pure else function


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return eqx.filter_jit(function)


class Candidates(NamedTuple):
    """Clips of the last few rounds, and which of them may be shown."""

    clips: Segment
    showable: Bool[Array, " clip"]


def clips_of(trajectory: Trajectory | None, family: Shown) -> Candidates:
    """Its clips, half of each shared with the next."""
    if trajectory is None:
        return Candidates(blank(family, 0), jnp.zeros(0, bool))
    return Candidates(*cut(trajectory, family.segment_length, stride(family)))


def remember(old: Candidates, new: Candidates) -> Candidates:
    """The newest clips that there is room for."""
    room = old.showable.shape[0]
    return jax.tree.map(lambda a, b: jnp.concatenate([b, a])[:room], old, new)


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


def clips_in_episodes(family: Any, config: RLHFConfig) -> int:
    """Of episodes that are played to be asked about."""
    return config.ask_envs * _clips_in(family.horizon, family)


def _clips_in(num_steps: int, family: Shown) -> int:
    return (num_steps - family.segment_length) // stride(family) + 1


def stride(family: Shown) -> int:
    """Steps from one clip's beginning to the next one's."""
    return max(1, family.segment_length // 2)


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
    leash: Leash | None = None
    watch: Watch | None = None
    never: Never | None = None


def run_round(state: RLHFState, sampler: Sampler, config: RLHFConfig) -> tuple[RLHFState, Metrics]:
    """One round with a simulated teacher: collect, ask, adapt the reward, PPO.

    Pure where the sampler is; then `vmap` it.

    Args:
        state: where RLHF stands.
        sampler: who acts, without termination at a hidden goal.
        config: how the agent asks and learns.

    Returns:
        The state after the round, and metrics of the last update of PPO: none where the only update
        is from what was collected to ask about (`config.updates` 1).
    """
    sampler = sampler.without_termination()
    key, look_key, ask_key, take_key = jax.random.split(state.key, 4)
    state, trajectory = look(look_key, state, sampler, config)
    if state.never is not None:
        state = _marked(jax.random.fold_in(ask_key, NEVER), state, sampler, config)
    hear = _hear if sampler.pure else _compiled_hear
    state = hear(ask_key, take_key, state, trajectory, sampler.shown, sampler.reward_bounds, config)
    state = eqx.tree_at(lambda s: (s.round, s.key), state, (state.round + 1, key))
    return practise(state, sampler, config, config.updates - learns(state, config))


def _hear(ask_key, take_key, state, trajectory, shown, bounds, config) -> RLHFState:
    """Ask the simulated teacher, and learn from all answers so far."""
    answers = ask(ask_key, state.belief, *choice(state), state.answers, bounds, config)
    return take_in(take_key, state, answers, trajectory, shown, config)


_compiled_hear = partial(jax.jit, static_argnames=("shown", "bounds", "config"))(_hear)


def _marked(key: PRNGKeyArray, state: RLHFState, sampler: Sampler, config: RLHFConfig) -> RLHFState:
    """Somebody looks over some clips more.

    Raises:
        TypeError: in this family nothing is forbidden, as far as simulated people know.
    """
    if not isinstance(sampler, CompiledSampler) or not isinstance(sampler.env, Forbids):
        raise TypeError(
            f"never.clips is {config.never.clips}, but nothing is forbidden in {sampler.name} that "
            "a simulated person could mark: choose a family with a `cost`, as navigation/hazard"
        )
    assert state.never is not None
    count = -(-config.never.clips // config.rounds)
    never = look_over(key, state.never, *choice(state), sampler.env, sampler.task, count)
    return eqx.tree_at(lambda s: s.never, state, never)


def look(
    key: PRNGKeyArray, state: RLHFState, sampler: Sampler, config: RLHFConfig
) -> tuple[RLHFState, Trajectory | None]:
    """Let the agent act, and remember its clips to ask about.

    An agent that is told what is believed shows what it would do if this or that were wanted. Any
    other shows what it does, and its next update learns from that very trajectory. None where
    nobody acts, as there is a library to ask about.
    """
    sampler, train, trajectory = sampler.without_termination(), state.ppo, None
    if not is_told(train.agent, state.belief):
        train, trajectory = ppo.play(train, sampler, config.learning)
    elif config.ask_envs:
        trajectory = explore(key, sampler, train.agent, state.belief, config)
    remember_clips = seen if sampler.pure else _compiled_seen
    return remember_clips(state, train, trajectory, sampler.shown), trajectory


def seen(
    state: RLHFState, train: ppo.TrainState, trajectory: Trajectory | None, family: Shown
) -> RLHFState:
    """Remember the clips of what was played, by an agent that is now in `train`."""
    candidates = remember(state.candidates, clips_of(trajectory, family))
    steps = state.steps + (0 if trajectory is None else trajectory.reward.size)
    changed = lambda s: (s.ppo, s.candidates, s.steps)
    return eqx.tree_at(changed, state, (train, candidates, steps))


_compiled_seen = partial(jax.jit, static_argnames=("family",))(seen)


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
    played = clips_of(trajectory, family).clips
    reference = state.library if trajectory is None else played
    reward = pays(belief, reference, family, answers, config)
    changed = lambda s: (s.belief, s.answers, s.reward)
    state = held(eqx.tree_at(changed, state, (belief, answers, reward)))
    if learns(state, config):
        assert trajectory is not None
        return learn(state, trajectory, config)[0]
    train = state.ppo
    if trajectory is not None and not is_told(train.agent, belief):
        train = ppo.skip(train, trajectory, config.learning)
    return eqx.tree_at(lambda s: s.ppo, state, tell(train, belief))


def held(state: RLHFState) -> RLHFState:
    """Hold the policy near what it is now, while no more is said.

    An agent that is told what is believed is held near what was meta-learned: to what that does
    when it is told what is believed now.
    """
    if state.leash is None:
        return state
    leash = eqx.tree_at(lambda leash: leash.reference, state.leash, state.ppo.agent.actor)
    if is_told(state.ppo.agent, state.belief):
        leash = state.leash.told(state.belief.context())
    return eqx.tree_at(lambda s: s.leash, state, leash)


def learn(
    state: RLHFState, trajectory: Trajectory, config: RLHFConfig
) -> tuple[RLHFState, Metrics]:
    """One update from what was played, paid as it is believed to deserve, and held as asked for."""
    paid, leash, never, more = state.reward(trajectory), state.leash, state.never, {}
    if never is not None:
        more |= {"cost_multiplier": never.multiplier.value}
        paid, never = never.pay(paid, config.never)
        more |= {"cost": never.share}
    if leash is not None:
        more |= {"leash_coefficient": leash.coefficient}
        paid, leash = leash.pay(paid, config.leash)
        more |= {"leash_kl": leash.kl}
    train, metrics = ppo.learn(state.ppo, paid, config.learning)
    changed = lambda s: (s.ppo, s.leash, s.never)
    none = lambda leaf: leaf is None
    return eqx.tree_at(changed, state, (train, leash, never), is_leaf=none), metrics | more


def pays(
    belief: Belief, reference: Segment, family: Shown, answers: Answers, config: RLHFConfig
) -> LearnedReward:
    """What a policy is paid, as careful as `config` says."""
    clip_to = answers.feedback if config.clip_reward else None
    return LearnedReward(belief, reference, may_end(family), config.pessimism, clip_to)


def learns(state: RLHFState, config: RLHFConfig) -> bool:
    """Whether a round's first update learns from what was played to ask about."""
    return config.updates > 0 and not is_told(state.ppo.agent, state.belief)


_compiled_learn = partial(jax.jit, static_argnames=("config",))(learn)


def practise(
    state: RLHFState, sampler: Sampler, config: RLHFConfig, updates: int
) -> tuple[RLHFState, Metrics]:
    """`updates` of PPO on the reward as it is believed to be now; metrics are of the last."""
    if not updates:
        return state, {}
    sampler = sampler.without_termination()
    update_from = learn if sampler.pure else _compiled_learn

    def step(state, _):
        train, trajectory = ppo.play(state.ppo, sampler, config.learning)
        return update_from(eqx.tree_at(lambda s: s.ppo, state, train), trajectory, config)

    if sampler.pure:
        state, metrics = jax.lax.scan(step, state, length=updates)
        metrics = jax.tree.map(lambda x: x[-1], metrics)
    else:
        metrics = {}
        for _ in range(updates):
            state, metrics = step(state, None)
    steps = state.steps + updates * config.ppo.batch_size
    return eqx.tree_at(lambda s: s.steps, state, steps), metrics


def restart(state: RLHFState, sampler: Sampler) -> RLHFState:
    """Go on from a checkpoint in environments that begin anew.

    What was seen of the old episodes can be asked about no more: nobody could be shown it.
    """
    nothing = jnp.zeros_like(state.candidates.showable)
    anew = (ppo.restart(state.ppo, sampler), nothing)
    return eqx.tree_at(lambda s: (s.ppo, s.candidates.showable), state, anew)


def explore(
    key: PRNGKeyArray, sampler: Sampler, agent: Agent, belief: Belief, config: RLHFConfig
) -> Trajectory:
    """Episodes to ask about, each played as if the task were one that the belief holds possible."""
    context_key, episode_key = jax.random.split(key)
    contexts = belief.sample_contexts(context_key, config.ask_envs)

    def episode(key, context):
        return sampler.episodes(key, agent.with_context(context).actor, 1)

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
    cost = None if state.never is None else state.never.model
    return Learned(before, state.belief, feedback, seen, shown, tuple(annotators), cost)


def is_told(agent: Agent, belief: Belief) -> bool:
    """Whether the agent was made to be told what this kind of belief has to say about a task."""
    size = agent.actor.context.shape[0]
    return size > 0 and belief.context().shape[0] == size


def tell(train: ppo.TrainState, belief: Belief) -> ppo.TrainState:
    """Tell the agent what is believed about the task, if it was made to be told."""
    if not is_told(train.agent, belief):
        return train
    return eqx.tree_at(lambda t: t.agent, train, train.agent.with_context(belief.context()))


def choice(state: RLHFState) -> Candidates:
    """All clips that may be asked about: the agent's own, and the library's."""
    kept = Candidates(state.library, jnp.ones(state.library.obs.shape[0], bool))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), state.candidates, kept)


def held_metrics(state: RLHFState) -> dict[str, Any]:
    """What was marked, and how far limit and leash held in the last update, as plain numbers.

    Nothing of what was not asked for; before the first update only how much was marked.
    """
    found: dict[str, Any] = {}
    updated = int(state.ppo.updates) > 0
    if (never := state.never) is not None:
        looked_at = never.marks.weight > 0
        marked = looked_at & never.marks.forbidden.any(-1)
        found |= {"never_clips": int(looked_at.sum()), "never_marked": int(marked.sum())}
        if updated:
            multiplier = float(never.multiplier.value)
            found |= {"never_share": float(never.share), "never_multiplier": multiplier}
    if (leash := state.leash) is not None and updated:
        found |= {"leash_kl": float(leash.kl), "leash_coefficient": float(leash.coefficient)}
    return found
