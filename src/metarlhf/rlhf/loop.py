"""The loop: collect, ask, fit the reward, PPO; the same from scratch and from a prior.

What differs is only what it begins with, see `state`.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Shown
from metarlhf.feedback import blank, cut
from metarlhf.networks import Agent
from metarlhf.reward import Belief, Learned
from metarlhf.rlhf.ask import Answers, ask
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rlhf.constraints import CostFamily, mark_clips
from metarlhf.rlhf.state import (
    COST_KEY,
    Candidates,
    RLHFState,
    askable_clips,
    clip_stride,
    condition,
    is_conditioned,
    learned_reward,
)
from metarlhf.sampling import CompiledSampler, Sampler
from metarlhf.types import Trajectory

Metrics = dict[str, Float[Array, ""]]


def compile_if_pure(function: Callable[..., Any], sampler: Sampler) -> Callable[..., Any]:
    """The function, as one compiled program where the sampler that it is called with is pure."""
    return _compiled(function) if sampler.pure else function


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return eqx.filter_jit(function)


def run_round(state: RLHFState, sampler: Sampler, config: RLHFConfig) -> tuple[RLHFState, Metrics]:
    """One round with a simulated teacher: collect, ask, fit the reward, PPO.

    Pure where the sampler is; then `vmap` it.

    Args:
        state: where RLHF stands.
        sampler: who acts, without termination at a hidden goal.
        config: how the agent asks and learns.

    Returns:
        The state after the round, and metrics of the last update of PPO: none where the only update
        is from what was collected to ask about (`config.updates` 1).

    Raises:
        TypeError: clips are to be marked, in a family in which nothing has a cost.
    """
    sampler = sampler.without_termination()
    key, collect_key, ask_key, learn_key = jax.random.split(state.key, 4)
    state, trajectory = collect(collect_key, state, sampler, config)
    if state.cost_constraint is not None:
        state = _mark(jax.random.fold_in(ask_key, COST_KEY), state, sampler, config)
    ask_and_learn = _ask_and_learn if sampler.pure else _compiled_ask_and_learn
    bounds = sampler.reward_bounds
    state = ask_and_learn(ask_key, learn_key, state, trajectory, sampler.shown, bounds, config)
    state = eqx.tree_at(lambda s: (s.round, s.key), state, (state.round + 1, key))
    return optimise_policy(state, sampler, config, config.updates - reuses_rollout(state, config))


def _ask_and_learn(ask_key, learn_key, state, trajectory, shown, bounds, config) -> RLHFState:
    """Ask the simulated teacher, and learn from all answers so far."""
    answers = ask(ask_key, state.belief, *askable_clips(state), state.answers, bounds, config)
    return learn_from_answers(learn_key, state, answers, trajectory, shown, config)


_compiled_ask_and_learn = partial(jax.jit, static_argnames=("shown", "bounds", "config"))(
    _ask_and_learn
)


def _mark(key: PRNGKeyArray, state: RLHFState, sampler: Sampler, config: RLHFConfig) -> RLHFState:
    """Let the simulated person mark costly steps in some clips more."""
    if not isinstance(sampler, CompiledSampler) or not isinstance(sampler.env, CostFamily):
        raise TypeError(
            f"never.clips is {config.never.clips}, but nothing is forbidden in {sampler.name} that "
            "a simulated person could mark: choose a family with a `cost`, as navigation/hazard"
        )
    assert state.cost_constraint is not None
    count = -(-config.never.clips // config.rounds)
    clips, constraint = askable_clips(state), state.cost_constraint
    constraint = mark_clips(key, constraint, *clips, sampler.env, sampler.task, count)
    return eqx.tree_at(lambda s: s.cost_constraint, state, constraint)


def collect(
    key: PRNGKeyArray, state: RLHFState, sampler: Sampler, config: RLHFConfig
) -> tuple[RLHFState, Trajectory | None]:
    """Let the agent act, and remember its clips to ask about.

    An agent that is conditioned on the belief explores tasks that the belief holds possible. Any
    other acts as it does, and its next update learns from that very trajectory.

    Returns:
        The state with the new clips, and the trajectory with dimensions (env, time); None where
        nobody acts, as there is a library to ask about.
    """
    sampler, train, trajectory = sampler.without_termination(), state.ppo, None
    if not is_conditioned(train.agent, state.belief):
        train, trajectory = ppo.play(train, sampler, config.learning)
    elif config.ask_envs:
        trajectory = explore(key, sampler, train.agent, state.belief, config)
    remember = _remember if sampler.pure else _compiled_remember
    return remember(state, train, trajectory, sampler.shown), trajectory


def explore(
    key: PRNGKeyArray, sampler: Sampler, agent: Agent, belief: Belief, config: RLHFConfig
) -> Trajectory:
    """Episodes to ask about, each played as if the task were one that the belief holds possible.

    Returns:
        A trajectory with dimensions (episode, time), of `config.ask_envs` episodes.
    """
    context_key, episode_key = jax.random.split(key)
    contexts = belief.sample_contexts(context_key, config.ask_envs)

    def episode(key, context):
        return sampler.episodes(key, agent.with_context(context).actor, 1)

    trajectory = jax.vmap(episode)(jax.random.split(episode_key, config.ask_envs), contexts)
    return jax.tree.map(lambda x: x[:, 0], trajectory)


def clips_of(trajectory: Trajectory | None, family: Shown) -> Candidates:
    """The clips of a trajectory; none of None."""
    if trajectory is None:
        return Candidates(blank(family, 0), jnp.zeros(0, bool))
    return Candidates(*cut(trajectory, family.segment_length, clip_stride(family)))


def _remember(
    state: RLHFState, train: ppo.TrainState, trajectory: Trajectory | None, family: Shown
) -> RLHFState:
    """Keep the newest clips that there is room for, and the training state after the rollout."""
    old, new = state.candidates, clips_of(trajectory, family)
    room = old.showable.shape[0]
    candidates = jax.tree.map(lambda a, b: jnp.concatenate([b, a])[:room], old, new)
    steps = state.steps + (0 if trajectory is None else trajectory.reward.size)
    changed = lambda s: (s.ppo, s.candidates, s.steps)
    return eqx.tree_at(changed, state, (train, candidates, steps))


_compiled_remember = partial(jax.jit, static_argnames=("family",))(_remember)


def learn_from_answers(
    key: PRNGKeyArray,
    state: RLHFState,
    answers: Answers,
    trajectory: Trajectory | None,
    family: Shown,
    config: RLHFConfig,
) -> RLHFState:
    """Fit the belief to all answers, and make an update from what was just collected.

    Args:
        key: of the fit.
        state: from `collect`.
        answers: all so far.
        trajectory: from `collect`.
        family: what the agent acted in: without termination, where that can be left out.
        config: how the agent learns.
    """
    belief = state.belief.adapt(key, answers.feedback)
    played = clips_of(trajectory, family).clips
    reference = state.library if trajectory is None else played
    reward = learned_reward(belief, reference, family, answers, config)
    changed = lambda s: (s.belief, s.answers, s.reward)
    state = move_reference(eqx.tree_at(changed, state, (belief, answers, reward)))
    if reuses_rollout(state, config):
        assert trajectory is not None
        return update_policy(state, trajectory, config)[0]
    train = state.ppo
    if trajectory is not None and not is_conditioned(train.agent, belief):
        train = ppo.skip(train, trajectory, config.learning)
    return eqx.tree_at(lambda s: s.ppo, state, condition(train, belief))


def move_reference(state: RLHFState) -> RLHFState:
    """Penalise from now on how far the policy moves from what it is now.

    The reference of an agent that is conditioned on the belief is the meta-learned policy,
    conditioned on what is believed now.
    """
    if state.kl_penalty is None:
        return state
    actor = state.ppo.agent.actor
    penalty = eqx.tree_at(lambda penalty: penalty.reference, state.kl_penalty, actor)
    if is_conditioned(state.ppo.agent, state.belief):
        penalty = state.kl_penalty.with_context(state.belief.context())
    return eqx.tree_at(lambda s: s.kl_penalty, state, penalty)


def update_policy(
    state: RLHFState, trajectory: Trajectory, config: RLHFConfig
) -> tuple[RLHFState, Metrics]:
    """One update of PPO on the learned reward, less what cost and divergence are charged.

    Args:
        state: where RLHF stands.
        trajectory: what to learn from, with dimensions (env, time).
        config: how the agent learns.

    Returns:
        The state after the update, and its metrics.
    """
    rewarded, more = state.reward(trajectory), {}
    penalty, constraint = state.kl_penalty, state.cost_constraint
    if constraint is not None:
        more |= {"cost_multiplier": constraint.multiplier.value}
        rewarded, constraint = constraint.apply(rewarded, config.never)
        more |= {"cost": constraint.mean_cost}
    if penalty is not None:
        more |= {"leash_coefficient": penalty.coefficient}
        rewarded, penalty = penalty.apply(rewarded, config.leash)
        more |= {"leash_kl": penalty.kl}
    train, metrics = ppo.learn(state.ppo, rewarded, config.learning)
    changed = lambda s: (s.ppo, s.kl_penalty, s.cost_constraint)
    none = lambda leaf: leaf is None
    return eqx.tree_at(changed, state, (train, penalty, constraint), is_leaf=none), metrics | more


_compiled_update = partial(jax.jit, static_argnames=("config",))(update_policy)


def reuses_rollout(state: RLHFState, config: RLHFConfig) -> bool:
    """Whether a round's first update learns from what was collected to ask about."""
    return config.updates > 0 and not is_conditioned(state.ppo.agent, state.belief)


def optimise_policy(
    state: RLHFState, sampler: Sampler, config: RLHFConfig, updates: int
) -> tuple[RLHFState, Metrics]:
    """PPO on the learned reward as it is.

    Args:
        state: where RLHF stands.
        sampler: who acts, without termination at a hidden goal.
        config: how the agent learns.
        updates: how many.

    Returns:
        The state after the updates, and metrics of the last.
    """
    if not updates:
        return state, {}
    sampler = sampler.without_termination()
    update = update_policy if sampler.pure else _compiled_update

    def step(state, _):
        train, trajectory = ppo.play(state.ppo, sampler, config.learning)
        return update(eqx.tree_at(lambda s: s.ppo, state, train), trajectory, config)

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


def reward_record(
    before: Belief, state: RLHFState, shown: Shown, annotators: Sequence[str] = ()
) -> Learned:
    """What was learned about the reward, to be published. Not to be compiled.

    Args:
        before: the belief before the first answer.
        state: where RLHF ended.
        shown: what the agent acts in.
        annotators: names of who answered, by number.
    """
    clips, showable = askable_clips(state)
    seen = clips[np.flatnonzero(showable)]
    feedback = state.answers.feedback
    cost = None if state.cost_constraint is None else state.cost_constraint.model
    return Learned(before, state.belief, feedback, seen, shown, tuple(annotators), cost)


def constraint_metrics(state: RLHFState) -> dict[str, Any]:
    """What was marked, and how cost and divergence stood in the last update, as plain numbers.

    Nothing of what was not asked for; before the first update only how much was marked.
    """
    metrics: dict[str, Any] = {}
    updated = int(state.ppo.updates) > 0
    if (constraint := state.cost_constraint) is not None:
        reviewed = constraint.marks.weight > 0
        marked = reviewed & constraint.marks.forbidden.any(-1)
        metrics |= {"never_clips": int(reviewed.sum()), "never_marked": int(marked.sum())}
        if updated:
            multiplier = float(constraint.multiplier.value)
            mean_cost = float(constraint.mean_cost)
            metrics |= {"never_share": mean_cost, "never_multiplier": multiplier}
    if (penalty := state.kl_penalty) is not None and updated:
        coefficient = float(penalty.coefficient)
        metrics |= {"leash_kl": float(penalty.kl), "leash_coefficient": coefficient}
    return metrics
