"""RLHF with people who answer whenever they like: the agent waits for nobody.

The agent has as many updates as its configuration gives for the answers so far. Until those are
made it waits for no answer. Then it does, as more updates would only find out where its reward is
still wrong. Questions are open all the while, so that people wait for it at the very beginning
only.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo, rlhf
from metarlhf.feedback import blank
from metarlhf.reward import Belief, Learned, wrong_answers
from metarlhf.reward.cost import Marks
from metarlhf.reward.likelihood import ANNOTATORS
from metarlhf.rlhf import RLHFConfig, RLHFState, constraint_metrics
from metarlhf.rlhf.ask import Answers
from metarlhf.rlhf.loop import (
    collect,
    compile_if_pure,
    learn_from_answers,
    reuses_rollout,
    update_policy,
)
from metarlhf.rlhf.propose import Said, gather, propose
from metarlhf.rlhf.state import COST_KEY, is_conditioned
from metarlhf.sampling import Sampler
from metarlhf.teach import questions
from metarlhf.teach.records import Answer, Correction, Origin
from metarlhf.teach.simulator import Replays
from metarlhf.teach.teacher import PAUSE, HumanTeacher, LiveStatus, Showing
from metarlhf.training import Loop
from metarlhf.types import Feedback, Segment, Trajectory

# Corrections that count: the newest ones.
_CORRECTIONS = 64
# Demonstrated clips that count, each in one comparison with what the agent did.
_DEMONSTRATED = 32
# Questions that are remembered, so that none is put twice, for each answer of the budget.
_REMEMBERED = 4
# A session has any number of steps: the metric `done` ends it.
_UNBOUNDED = 10**9

Taken = tuple[list[Answer], list[Correction]]
"""Answers and corrections that are learned from together."""


class TeachingSession:
    """One agent, taught by people.

    Args:
        teacher: the people who are asked.
        sampler: who acts. The task's own reward is never looked at.
        config: how the agent asks and learns; `labels` is the budget of answers.
        replays: how to film what a host simulator did; None: clips are drawn.
        ahead: answers that open questions are good for, at least.
        wait: ask a round at a time, and do nothing until all of it is answered.
        recorded: what was learned from at which step, of a session to be done again without people.
        demonstrated: clips of demonstrations, each of which counts as better than what the agent
            does; leaves have a leading dimension `clip`.
    """

    def __init__(
        self,
        teacher: HumanTeacher,
        sampler: Sampler,
        config: RLHFConfig,
        *,
        replays: Replays | None = None,
        ahead: int = 3,
        wait: bool = False,
        recorded: dict[int, Taken] | None = None,
        demonstrated: Segment | None = None,
    ):
        self.teacher, self.config, self.replays = teacher, config, replays
        self.sampler = sampler.without_termination()
        self.ahead = config.labels_per_round if wait else ahead
        self.wait, self.recorded = wait, recorded
        self.status = LiveStatus(teacher, config.labels)
        self._like = blank(self.sampler.shown, 1)[0]
        count = 0 if demonstrated is None else min(_DEMONSTRATED, demonstrated.obs.shape[0])
        self._demonstrated = (
            [demonstrated[i] for i in range(count)] if demonstrated is not None else []
        )
        # Numbers of the answers and corrections that were learned from last.
        self._taken: tuple[list[int], list[int]] = ([], [])
        self._begun = False
        self._prior: Belief | None = None
        # Whether to count what is open, and whether anything is left to be asked.
        self._recount = self._left = True

    def training(self, start: Callable[[], RLHFState]) -> Loop[RLHFState]:
        """The session as a loop that ends when all is answered and learned.

        Args:
            start: makes the first state, see `rlhf.from_scratch` and `rlhf.start`.
        """
        return Loop(
            start=lambda: self.begin(start()),
            step=self.step,
            total=_UNBOUNDED,
            stop=self.is_over,
            ready=self.ready,
            restored=self.restore,
            progress=("labels", self.config.labels),
        )

    def begin(self, state: RLHFState) -> RLHFState:
        """The state with room for all that people may say."""
        self._prior = state.belief
        return eqx.tree_at(lambda s: s.answers, state, self._answers([], []))

    def restore(self, state: RLHFState, rows: Sequence[dict[str, Any]]) -> RLHFState:
        """Go on from a checkpoint: show people what the agent does, as before.

        Args:
            state: from the checkpoint.
            rows: metrics of the steps before it.
        """
        if not self.sampler.pure:
            state = rlhf.restart(state, self.sampler)
        if self.recorded is None:
            self._taken = self.teacher.taken_before(int(state.round))
            answers = self.teacher.answers(self._taken[0])
        else:
            before = sorted(self.recorded)[: int(state.round)]
            answers = self.recorded[before[-1]][0] if before else []
        if answers:
            self.status.restore(rows, answers, self._show(state.key, state))
        return state

    def allowed(self, answers: int) -> int:
        """Updates that so many answers are good for."""
        config, regular = self.config, self.config.rounds * self.config.updates
        if answers >= config.labels:
            return regular + config.final_updates
        return answers * regular // config.labels

    def is_over(self, rows: Sequence[dict[str, Any]]) -> bool:
        """Whether all is answered and learned, by the metrics of the steps so far."""
        return bool(rows) and bool(rows[-1]["done"])

    def ready(self, state: RLHFState) -> bool:
        """Whether there is something to do; takes a moment to say no."""
        if not self._begun or self.recorded is not None or self._may_update(state):
            return True
        if self.teacher.changed() and not (self.wait and self.teacher.open()):
            return True
        self.status.tell(state, "waiting")
        time.sleep(PAUSE)
        return False

    def step(self, state: RLHFState, iteration: int) -> tuple[RLHFState, dict[str, Any]]:
        """Act; learn from new answers, or else make an update; ask.

        Args:
            state: where the session stands.
            iteration: number of steps before.

        Returns:
            The next state, and metrics.
        """
        keys = jax.random.split(jax.random.fold_in(state.key, iteration), 5)
        act_key, ask_key, learn_key, show_key, demonstrated_key = keys
        if self.replays is not None:
            self.replays.forget(self.config)
        state, trajectory = compile_if_pure(collect, self.sampler)(
            act_key, state, self.sampler, self.config
        )
        taken = self._new_feedback(iteration)
        if taken is not None:
            answers, corrections = taken
            marks = self._marks(answers, corrections)
            demonstrated = self._preferred(demonstrated_key, state)
            given = self._answers(answers, corrections if marks is None else [], demonstrated)
            state = self._learn_from_answers(learn_key, state, given, trajectory, marks)
            self.status.update(answers, self._show(show_key, state))
        elif self._may_update(state):
            state = self._update(state, trajectory)
        else:
            state = _skip(state, trajectory, self.config)
        # In the light of what was just answered.
        exhausted = self.recorded is None and not self._ask(ask_key, state)
        if not self._begun and self.recorded is None:
            self._compile(state, trajectory)
        self._begun = True
        done = self._is_done(state, exhausted)
        if done and self.recorded is None:
            self.teacher.withdraw()
        self.status.tell(state, "done" if done else "practising", at_once=done or taken is not None)
        return state, {
            "labels": int(state.answers.count),
            "steps": int(state.steps),
            "updates": int(state.ppo.updates),
            **self._cost(state, trajectory),
            **constraint_metrics(state),
            "learned_return": self.status.learned_return,
            "foreseen": self.status.foreseen,
            "done": done,
        }

    def reward_record(self, state: RLHFState) -> Learned:
        """What was learned about the reward since `begin`, to be published."""
        assert self._prior is not None
        return rlhf.reward_record(self._prior, state, self.sampler.shown, self.teacher.people())

    def result(self, state: RLHFState, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What came of the session.

        Args:
            state: the last one.
            rows: metrics of all steps.

        Returns:
            Numbers by name. `wrong` is the share of each person's comparisons that are believed to
            be wrong, `foreseen` that of the newest answers which the model had foreseen.
        """
        answers, corrections = self.teacher.all_feedback()
        people = self.teacher.people()
        return {
            "family": self.sampler.name,
            "labels": int(state.answers.count),
            "corrections": len(corrections),
            "people": sorted({one.annotator for one in answers}),
            "minutes_of_looking": sum(one.seconds for one in answers) / 60,
            "foreseen": questions.foreseen(answers),
            "agreement": questions.agreement(answers),
            "wrong": wrong_answers(state.belief, state.answers.feedback, people),
            "steps": int(state.steps),
            "updates": int(state.ppo.updates),
            "learned_return": self.status.learned_return,
            **({"cost": rows[-1].get("cost")} if self.config.never.clips else {}),
        }

    def _compile(self, state: RLHFState, trajectory: Trajectory | None) -> None:
        """Compile what the first answers will need while people look at the first questions."""
        self.status.tell(state, "waiting", at_once=True)
        marks = self._marks([], [])
        after = self._learn_from_answers(state.key, state, state.answers, trajectory, marks)
        self._show(state.key, self._update(after, trajectory))

    def _learn_from_answers(self, key, state, answers, trajectory, marks) -> RLHFState:
        return _learn_from_answers(
            key, state, answers, trajectory, marks, self.sampler.shown, self.config
        )

    def _update(self, state: RLHFState, trajectory: Trajectory | None) -> RLHFState:
        """One update of the policy."""
        if trajectory is None or not reuses_rollout(state, self.config):
            optimise = compile_if_pure(rlhf.optimise_policy, self.sampler)
            return optimise(state, self.sampler, self.config, 1)[0]
        return _update_policy(state, trajectory, self.config)

    def _show(self, key: PRNGKeyArray, state: RLHFState) -> Showing:
        """An episode of the policy's mode."""
        episode, learned_return = compile_if_pure(_episode, self.sampler)(key, state, self.sampler)
        obs = np.asarray(episode.obs[0])
        replay = None
        if self.replays is not None:
            length = int(np.argmax(np.append(episode.done[0], True))) + 1
            replay = self.replays.episode(min(length, len(obs)))
            obs = obs[: len(replay.actions)]
        return Showing(obs, jax.device_get(learned_return), replay)

    def _marks(self, answers: list[Answer], corrections: list[Correction]) -> Marks | None:
        """What a cost is learned from, where corrections are marks of what must never be."""
        room = self.config.never.clips
        return self.teacher.marks(answers, corrections, room) if room else None

    def _cost(self, state: RLHFState, trajectory: Trajectory | None) -> dict[str, float]:
        """Mean cost of the steps that were just played, by the cost model."""
        if state.cost_constraint is None or trajectory is None:
            return {}
        return {"cost": float(_mean_cost(state.cost_constraint, trajectory))}

    def _may_update(self, state: RLHFState) -> bool:
        count = int(state.answers.count)
        return count > 0 and int(state.ppo.updates) < self.allowed(count)

    def _is_done(self, state: RLHFState, exhausted: bool) -> bool:
        """All is answered, or nothing is left to ask; and all is learned from it."""
        count = int(state.answers.count)
        if self.recorded is not None:
            exhausted = int(state.round) >= len(self.recorded)
        return (count >= self.config.labels or exhausted) and not self._may_update(state)

    def _ask(self, key: PRNGKeyArray, state: RLHFState) -> bool:
        """Ask about the newest behaviour where too little is open; False: nothing is left.

        What is open changes by what is answered alone, so it is counted anew after that only.
        """
        if not self._recount or (self.wait and self._may_update(state)):
            return self._left  # a round to wait for is about the agent as it is after the last
        self._recount, self._left = False, True
        standing, open_ = self.teacher.count()
        wanted = min(self.ahead, self.config.labels - standing)
        if wanted <= open_ or (self.wait and open_):
            return True
        asked = self._questions(self.teacher.asked())
        missing = wanted - self.teacher.staying(int(state.round))
        count = -(-missing // self.teacher.overlap)
        proposal = _propose(key, state, asked, count, self.ahead, self.config)
        ratings = self.config.feedback == "ratings"
        origin = partial(self._origin, state.candidates.showable.shape[0])
        open_ = self.teacher.ask(proposal, wanted, int(state.round), ratings, origin)
        self._left = open_ > 0 or self.teacher.changed()
        return self._left

    def _origin(self, own: int, clip: int) -> Origin:
        """Of a clip, by its number: the first `own` are the agent's."""
        if clip >= own:
            return Origin("library")
        return Origin(replay=self.replays.clip(clip, self.config) if self.replays else None)

    def _new_feedback(self, iteration: int) -> Taken | None:
        """What is to be learned from; None where it is what was learned from last."""
        if self.recorded is not None:
            return self.recorded.get(iteration)
        if not self.teacher.changed() or (self.wait and self.teacher.open()):
            return None
        answers, corrections = self.teacher.feedback()
        self._recount = True
        answers = [one for one in answers if not one.skipped][: self.config.labels]
        corrections = corrections[-_CORRECTIONS:]
        numbers = [one.id for one in answers], [one.id for one in corrections]
        if numbers == self._taken:
            return None
        self._taken = numbers
        self.teacher.record_taken(iteration, *numbers)
        return answers, corrections

    def _preferred(self, key: PRNGKeyArray, state: RLHFState) -> list[Said]:
        """Each demonstrated clip, and one of the agent's own that it is better than."""
        showable = np.flatnonzero(state.candidates.showable)
        if not self._demonstrated or not len(showable):
            return []
        drawn = np.asarray(jax.random.choice(key, showable, (len(self._demonstrated),)))
        clips = [state.candidates.clips[i] for i in drawn]
        # Nobody said so: it is no annotator's fault where that is wrong.
        by = ANNOTATORS - 1
        return [
            Said(clip, better, 1.0, annotator=by)
            for clip, better in zip(clips, self._demonstrated, strict=True)
        ]

    def _answers(
        self, answers: list[Answer], corrections: list[Correction], more: Sequence[Said] = ()
    ) -> Answers:
        """In arrays whose size is the same from beginning to end."""
        ratings = self.config.labels if self.config.feedback == "ratings" else 0
        comparisons = (
            _CORRECTIONS + len(self._demonstrated) + (0 if ratings else self.config.labels)
        )
        said = [*self.teacher.as_said(answers, corrections), *more]
        gathered = gather(said, self._like, comparisons, ratings)
        return gathered._replace(count=jnp.full((), len(answers), jnp.int32))

    def _questions(self, asked: list[Said]) -> Feedback:
        """The newest questions in arrays of one size."""
        room = _REMEMBERED * self.config.labels + self.ahead
        sizes = (0, room) if self.config.feedback == "ratings" else (room, 0)
        return gather(asked[-room:], self._like, *sizes).feedback


def _episode(key, state: RLHFState, sampler: Sampler) -> tuple[Trajectory, Float[Array, ""]]:
    """An episode of the policy's mode in one row, and its return by the reward model."""
    episode = sampler.episodes(key, state.ppo.agent.actor, 1, deterministic=True)
    return episode, _learned_return(state, episode)


@jax.jit
def _learned_return(state: RLHFState, episode: Trajectory) -> Float[Array, ""]:
    """Until the episode's end: what follows in the row is the next one."""
    before_end = jnp.cumsum(episode.done, axis=-1) - episode.done == 0
    return jnp.sum(jnp.where(before_end, state.reward(episode).reward, 0.0))


@partial(jax.jit, static_argnames=("config",))
def _update_policy(state, trajectory, config):
    return update_policy(state, trajectory, config)[0]


@partial(jax.jit, static_argnames=("most", "config"))
def _propose(key, state, asked, count, most, config):
    return propose(key, state, asked, count, most, config)


@partial(jax.jit, static_argnames=("shown", "config"))
def _learn_from_answers(key, state, answers, trajectory, marks, shown, config):
    if marks is not None:
        constraint = state.cost_constraint.adapt(jax.random.fold_in(key, COST_KEY), marks)
        state = eqx.tree_at(lambda s: s.cost_constraint, state, constraint)
    state = learn_from_answers(key, state, answers, trajectory, shown, config)
    return eqx.tree_at(lambda s: s.round, state, state.round + 1)


@jax.jit
def _mean_cost(constraint, trajectory):
    return constraint.cost(trajectory).mean()


@partial(jax.jit, static_argnames=("config",))
def _skip(state, trajectory, config):
    """No update may be made: what was played is not learned from."""
    if trajectory is None or is_conditioned(state.ppo.agent, state.belief):
        return state
    return eqx.tree_at(lambda s: s.ppo, state, ppo.skip(state.ppo, trajectory, config.learning))
