"""What comes after the last regular answer: PPO, and checks for over-optimisation if asked for.

The longer a policy is trained on a learned reward, the more it lives by the reward's errors: the
learned return goes on rising, and what was wanted falls (Gao et al. 2023, "Scaling laws for reward
model overoptimization"). Nobody can see that without asking. So now and then a few fresh
comparisons are made of the newest policy with the best one so far.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from metarlhf.envs.base import Shown
from metarlhf.feedback import record_comparison
from metarlhf.feedback.config import Teacher
from metarlhf.feedback.teachers import Scale
from metarlhf.networks import Agent
from metarlhf.reward import Belief
from metarlhf.reward.calibration import predicted_preferences
from metarlhf.rlhf.config import RLHFConfig, WatchConfig
from metarlhf.rlhf.loop import (
    Metrics,
    compile_if_pure,
    move_reference,
    optimise_policy,
    restart,
    run_round,
)
from metarlhf.rlhf.state import CheckState, RLHFState, condition, learned_reward
from metarlhf.sampling import Sampler
from metarlhf.training import Loop
from metarlhf.types import Comparison, Feedback, Segment


def training(
    start: Callable[[], RLHFState],
    sampler: Sampler,
    config: RLHFConfig,
    measure: Callable[[RLHFState], dict[str, Any]],
) -> Loop[RLHFState]:
    """RLHF with a simulated teacher, as a `training.Loop`: rounds, then the final parts.

    Args:
        start: makes the first state, see `from_scratch` and `start`.
        sampler: who acts.
        config: how the agent asks and learns.
        measure: what metrics say of a state, such as its true return.
    """

    def step(state: RLHFState, done: int) -> tuple[RLHFState, dict[str, Any]]:
        proceed = run_round if done < config.rounds else final_part
        state = compile_if_pure(proceed, sampler)(state, sampler, config)[0]
        return state, measure(state)

    return Loop(
        start=start,
        step=step,
        total=config.rounds + num_final_parts(config),
        stop=lambda rows: bool(rows) and bool(rows[-1].get("halted")),
        restored=lambda state, rows: state if sampler.pure else restart(state, sampler),
        unit="rounds and checks" if config.checks else "rounds",
    )


def num_final_parts(config: RLHFConfig) -> int:
    """Parts of the training after the last regular answer: one for each check, or a single one."""
    return config.checks or int(config.final_updates > 0)


def finish(state: RLHFState, sampler: Sampler, config: RLHFConfig) -> RLHFState:
    """All parts of the training after the last regular answer. Pure; `vmap` it."""
    if state.checks is None:
        return optimise_policy(state, sampler, config, config.final_updates)[0]
    step = lambda state, _: (final_part(state, sampler, config)[0], None)
    return jax.lax.scan(step, state, length=num_final_parts(config))[0]


def final_part(state: RLHFState, sampler: Sampler, config: RLHFConfig) -> tuple[RLHFState, Metrics]:
    """One part of the training after the last regular answer, and its check. Pure; `vmap` it.

    Once training has halted nothing happens any more. The last part leaves the best agent.

    Args:
        state: after all rounds.
        sampler: who acts, without termination at a hidden goal.
        config: how the agent asks and learns; for the check see `WatchConfig`.

    Returns:
        The state after the part, and metrics of its last update.
    """
    if state.checks is None:
        return optimise_policy(state, sampler, config, config.final_updates)
    before = state.checks
    first = jax.tree.map(
        lambda a, b: jnp.where(before.count == 0, a, b), state.ppo.agent, before.best
    )
    state = eqx.tree_at(lambda s: s.checks.best, state, first)
    key, check_key = jax.random.split(state.key)
    after, metrics = optimise_policy(state, sampler, config, config.watch.every)
    after = eqx.tree_at(lambda s: s.key, after, key)
    after = _check(check_key, after, sampler, config)
    after = jax.tree.map(lambda a, b: jnp.where(before.halted, b, a), after, state)
    checks = after.checks
    assert checks is not None
    over = checks.halted | (checks.count == config.checks)
    metrics |= {"liked": checks.liked, "foreseen": checks.foreseen}
    return _with_best_if(over, after), metrics


def _check(key: PRNGKeyArray, state: RLHFState, sampler: Sampler, config: RLHFConfig) -> RLHFState:
    """Whether people like the newest policy as well as the best; if not, it may be asked again."""
    checks, newest, asks = state.checks, state.ppo.agent, config.watch.asks
    assert checks is not None
    sampler = sampler.without_termination()
    family = sampler.shown
    play_key, answer_key, clip_key, fit_key = jax.random.split(key, 4)
    count = max(config.watch.episodes, config.watch.answers if asks else 0)
    left, right = play_both(play_key, sampler, checks.best, newest, count)
    compared = left[: config.watch.episodes], right[: config.watch.episodes]
    answers = compare(answer_key, *compared, config.teacher)
    checks = after_check(checks, newest, answers, state.belief, config.watch)
    steps = state.steps + left.task_reward.size + right.task_reward.size
    state = eqx.tree_at(lambda s: (s.checks, s.steps), state, (checks, steps))
    if not asks:
        return state
    some = left[: config.watch.answers], right[: config.watch.answers]
    pairs = cut_pairs(clip_key, *some, family.segment_length)
    more = compare(jax.random.fold_in(clip_key, 0), *pairs, config.teacher)
    fit = lambda state: _learn_from(fit_key, state, more, family, config)
    return jax.lax.cond(checks.liked < 0.5, fit, lambda state: state, state)


def after_check(
    checks: CheckState, agent: Agent, answers: Comparison, belief: Belief, config: WatchConfig
) -> CheckState:
    """What checks have come to after one of `agent`.

    Args:
        checks: before it.
        agent: the newest, whose episodes are the right ones of those compared.
        answers: comparisons of episodes; rows of weight 0 were skipped.
        belief: about the reward.
        config: when to halt.
    """
    given = jnp.maximum(answers.weight.sum(), 1.0)
    mean = lambda x: jnp.where(answers.weight.any(), jnp.sum(x * answers.weight) / given, 0.5)
    liked, foreseen = mean(answers.preference), mean(predicted_preferences(belief, answers))
    new = CheckState(
        best=jax.tree.map(lambda a, b: jnp.where(liked < 0.5, b, a), agent, checks.best),
        count=checks.count + 1,
        lost=checks.lost,
        halted=checks.halted,
        asked=checks.asked,
        liked=liked,
        foreseen=foreseen,
    )
    lost = jnp.where(new.parted, checks.lost + 1, 0)
    halted = checks.halted | ((lost >= config.patience) & (not config.asks))
    new = eqx.tree_at(lambda c: (c.lost, c.halted), new, (lost, halted))
    return _spend(new, answers, config)


def _spend(checks: CheckState, answers: Comparison, config: WatchConfig) -> CheckState:
    """Some answers more were given; training halts where there are too few left for a check."""
    asked = checks.asked + answers.weight.sum().astype(jnp.int32)
    spent = asked + config.most > config.budget
    return eqx.tree_at(lambda c: (c.asked, c.halted), checks, (asked, checks.halted | spent))


def _learn_from(
    key: PRNGKeyArray, state: RLHFState, more: Comparison, family: Shown, config: RLHFConfig
) -> RLHFState:
    """Fit the belief to some answers more, and go on from the best."""
    assert state.checks is not None
    answers = state.answers._replace(feedback=_recorded(state.answers.feedback, more))
    belief = state.belief.adapt(key, answers.feedback)
    reference = state.library
    if not reference.obs.shape[0]:  # what rounds have left, the newest first; the rest is blank
        room, remembered = len(state.candidates.showable), config.remembered_rounds
        reference = state.candidates.clips[: room // remembered * min(remembered, config.rounds)]
    reward = learned_reward(belief, reference, family, answers, config)
    checks = _spend(state.checks, more, config.watch)
    train = condition(eqx.tree_at(lambda t: t.agent, state.ppo, checks.best), belief)
    changed = lambda s: (s.ppo, s.belief, s.answers, s.reward, s.checks)
    return move_reference(eqx.tree_at(changed, state, (train, belief, answers, reward, checks)))


def _recorded(feedback: Feedback, more: Comparison) -> Feedback:
    """After the comparisons that are there; a question that was skipped leaves no trace."""

    def put(feedback: Feedback, one: Comparison):
        row = feedback.comparisons.weight.sum().astype(jnp.int32)
        parts = (one.left, one.right, one.preference, one.weight)
        return record_comparison(feedback, row, *parts), None

    return jax.lax.scan(put, feedback, more)[0]


def _with_best_if(wanted: Bool[Array, ""], state: RLHFState) -> RLHFState:
    assert state.checks is not None
    agent = jax.tree.map(lambda a, b: jnp.where(wanted, a, b), state.checks.best, state.ppo.agent)
    return eqx.tree_at(lambda s: s.ppo.agent, state, agent)


def play_both(
    key: PRNGKeyArray, sampler: Sampler, best: Agent, newest: Agent, count: int
) -> tuple[Segment, Segment]:
    """Whole episodes of both policies' modes: leaves have dimensions (episode, time)."""

    def play(key, agent):
        episodes = sampler.episodes(key, agent.actor, count, deterministic=True)
        return Segment(episodes.obs, episodes.action, episodes.task_reward)

    best_key, newest_key = jax.random.split(key)
    return play(best_key, best), play(newest_key, newest)


def cut_pairs(
    key: PRNGKeyArray, left: Segment, right: Segment, length: int
) -> tuple[Segment, Segment]:
    """A clip of `length` steps of each episode, at the same time in a pair of left and right.

    The times are spread over the episodes.
    """
    count, horizon = left.task_reward.shape
    within = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    starts = jnp.floor(within * (horizon - length + 1)).astype(int)
    cut = lambda x, begin: jax.lax.dynamic_slice_in_dim(x, begin, length)
    one = lambda episode, begin: jax.tree.map(lambda x: cut(x, begin), episode)
    return jax.vmap(one)(left, starts), jax.vmap(one)(right, starts)


def compare(key: PRNGKeyArray, left: Segment, right: Segment, teacher: Teacher) -> Comparison:
    """A simulated teacher's answers about pairs; the spread is that of what it sees here."""
    both = jnp.concatenate([left.task_reward, right.task_reward])
    answers = teacher.compare(key, left.task_reward, right.task_reward, Scale.of(both))
    return Comparison(left, right, *answers)
