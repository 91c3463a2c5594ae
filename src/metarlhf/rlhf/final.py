"""What comes after the last regular answer: practice, watched if that was asked for."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import Shown
from metarlhf.feedback import record_comparison
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rlhf.loop import (
    RLHFState,
    compile_if_pure,
    held,
    pays,
    practise,
    restart,
    run_round,
    tell,
)
from metarlhf.rlhf.watch import clips, compare, episodes
from metarlhf.sampling import Sampler
from metarlhf.training import Loop
from metarlhf.types import Comparison, Feedback

Metrics = dict[str, Float[Array, ""]]


def stages(config: RLHFConfig) -> int:
    """Parts of the practice after the last regular answer; where it is watched, one for a check."""
    return config.checks or int(config.final_updates > 0)


def training(
    start: Callable[[], RLHFState],
    sampler: Sampler,
    config: RLHFConfig,
    measure: Callable[[RLHFState], dict[str, Any]],
) -> Loop[RLHFState]:
    """RLHF with a simulated teacher, as a `training.Loop`: rounds, then practice.

    Args:
        start: makes the first state, see `from_scratch` and `start`.
        sampler: who acts.
        config: how the agent asks and learns.
        measure: what metrics say of a state, such as its true return.
    """

    def step(state: RLHFState, done: int) -> tuple[RLHFState, dict[str, Any]]:
        proceed = run_round if done < config.rounds else stage
        state = compile_if_pure(proceed, sampler)(state, sampler, config)[0]
        return state, measure(state)

    return Loop(
        start=start,
        step=step,
        total=config.rounds + stages(config),
        stop=lambda rows: bool(rows) and bool(rows[-1].get("halted")),
        restored=lambda state, rows: state if sampler.pure else restart(state, sampler),
        unit="rounds and checks" if config.checks else "rounds",
    )


def finish(state: RLHFState, sampler: Sampler, config: RLHFConfig) -> RLHFState:
    """All of them. Pure; vmap it."""
    if state.watch is None:
        return practise(state, sampler, config, config.final_updates)[0]
    step = lambda state, _: (stage(state, sampler, config)[0], None)
    return jax.lax.scan(step, state, length=stages(config))[0]


def stage(state: RLHFState, sampler: Sampler, config: RLHFConfig) -> tuple[RLHFState, Metrics]:
    """One part, and its check (see `WatchConfig`). Pure; vmap it.

    Once training has halted nothing happens any more. The last part leaves the best agent.
    """
    if state.watch is None:
        return practise(state, sampler, config, config.final_updates)
    watch = state.watch
    first = jax.tree.map(
        lambda a, b: jnp.where(watch.checks == 0, a, b), state.ppo.agent, watch.best
    )
    state = eqx.tree_at(lambda s: s.watch.best, state, first)
    key, check_key = jax.random.split(state.key)
    after, metrics = practise(state, sampler, config, config.watch.every)
    after = eqx.tree_at(lambda s: s.key, after, key)
    after = _check(check_key, after, sampler, config)
    after = jax.tree.map(lambda a, b: jnp.where(watch.halted, b, a), after, state)
    seen = after.watch
    assert seen is not None
    over = seen.halted | (seen.checks == config.checks)
    return _with_best_if(over, after), metrics | {"liked": seen.liked, "foreseen": seen.foreseen}


def _check(key: PRNGKeyArray, state: RLHFState, sampler: Sampler, config: RLHFConfig) -> RLHFState:
    """Whether people like the newest policy as well as the best; if not, it may be asked again."""
    watch, newest, asks = state.watch, state.ppo.agent, config.watch.asks
    assert watch is not None
    sampler = sampler.without_termination()
    family = sampler.shown
    play_key, answer_key, clip_key, fit_key = jax.random.split(key, 4)
    count = max(config.watch.episodes, config.watch.answers if asks else 0)
    left, right = episodes(play_key, sampler, watch.best, newest, count)
    compared = left[: config.watch.episodes], right[: config.watch.episodes]
    said = compare(answer_key, *compared, config.teacher)
    watch = watch.seen(newest, said, state.belief, config.watch)
    steps = state.steps + left.task_reward.size + right.task_reward.size
    state = eqx.tree_at(lambda s: (s.watch, s.steps), state, (watch, steps))
    if not asks:
        return state
    some = left[: config.watch.answers], right[: config.watch.answers]
    pairs = clips(clip_key, *some, family.segment_length)
    said = compare(jax.random.fold_in(clip_key, 0), *pairs, config.teacher)
    again = lambda state: _learn_from(fit_key, state, said, family, config)
    return jax.lax.cond(watch.liked < 0.5, again, lambda state: state, state)


def _learn_from(
    key: PRNGKeyArray, state: RLHFState, said: Comparison, family: Shown, config: RLHFConfig
) -> RLHFState:
    """Believe what was said as well, and go on from the best."""
    assert state.watch is not None
    answers = state.answers._replace(feedback=_recorded(state.answers.feedback, said))
    belief = state.belief.adapt(key, answers.feedback)
    usual = state.library
    if not usual.obs.shape[0]:  # what rounds have left, the newest first; the rest is blank
        room, remembered = len(state.candidates.showable), config.remembered_rounds
        usual = state.candidates.clips[: room // remembered * min(remembered, config.rounds)]
    reward = pays(belief, usual, family, answers, config)
    watch = state.watch.charged(said, config.watch)
    train = tell(eqx.tree_at(lambda t: t.agent, state.ppo, watch.best), belief)
    changed = lambda s: (s.ppo, s.belief, s.answers, s.reward, s.watch)
    return held(eqx.tree_at(changed, state, (train, belief, answers, reward, watch)))


def _recorded(feedback: Feedback, said: Comparison) -> Feedback:
    """After the comparisons that are there; a question that was skipped leaves no trace."""

    def put(feedback: Feedback, one: Comparison):
        row = feedback.comparisons.weight.sum().astype(jnp.int32)
        parts = (one.left, one.right, one.preference, one.weight)
        return record_comparison(feedback, row, *parts), None

    return jax.lax.scan(put, feedback, said)[0]


def _with_best_if(wanted: Array, state: RLHFState) -> RLHFState:
    assert state.watch is not None
    agent = jax.tree.map(lambda a, b: jnp.where(wanted, a, b), state.watch.best, state.ppo.agent)
    return eqx.tree_at(lambda s: s.ppo.agent, state, agent)
