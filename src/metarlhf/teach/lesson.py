"""The loop that waits for nobody: it puts questions, takes answers as they come, and practises.

The agent has as many updates as its configuration gives for the answers so far. Until those are
made it waits for no answer. Then it does, as more updates would only find out where its reward is
still wrong; and its questions lie there, so that nobody waits for it but at the very beginning.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from metarlhf import ppo
from metarlhf.feedback import blank
from metarlhf.reward.cost import Marks
from metarlhf.reward.likelihood import ANNOTATORS
from metarlhf.rlhf import RLHFConfig, RLHFState, held_metrics
from metarlhf.rlhf.ask import Answers
from metarlhf.rlhf.loop import NEVER, is_told, take_in
from metarlhf.rlhf.propose import Said, gather, propose
from metarlhf.teach.records import Answer, Correction, Origin
from metarlhf.teach.stage import Stage
from metarlhf.teach.teacher import PAUSE, HumanTeacher, LiveStatus
from metarlhf.types import Segment, Trajectory

# Corrections that count: the newest ones.
CORRECTIONS = 64
# Demonstrated clips that count, each in one comparison with what the agent did.
DEMONSTRATED = 32
# Questions that are remembered, so that none is put twice, for each answer of the budget.
REMEMBERED = 4

Taken = tuple[list[Answer], list[Correction]]


class Lesson:
    """One agent, taught by people; `begin`, `ready`, `step` and `over` are what `drive` takes.

    Args:
        teacher: the people who are asked.
        stage: where the agent acts. What is paid there is never looked at.
        config: how it asks and learns; `labels` is the budget of answers.
        ahead: answers that open questions are good for, at least.
        wait: ask a round at a time, and do nothing until all of it is answered.
        recorded: what was taken in at which iteration, of a run to be done again without anybody.
        demonstrated: clips of what somebody showed, who is taken to like each of them better than
            what the agent does.
    """

    def __init__(
        self,
        teacher: HumanTeacher,
        stage: Stage,
        config: RLHFConfig,
        *,
        ahead: int = 3,
        wait: bool = False,
        recorded: dict[int, Taken] | None = None,
        demonstrated: Segment | None = None,
    ):
        self.teacher, self.stage, self.config = teacher, stage, config
        self.ahead = config.labels_per_round if wait else ahead
        self.wait, self.recorded = wait, recorded
        self._like = blank(stage.shown, 1)[0]
        self._shown: list[Segment] = []
        if demonstrated is not None:
            count = min(DEMONSTRATED, demonstrated.obs.shape[0])
            self._shown = [demonstrated[i] for i in range(count)]
        self.status = LiveStatus(teacher, config.labels)
        self._taken: tuple[list[int], list[int]] = ([], [])
        self._begun = False
        # Whether what is open is to be counted, and whether there is anything left to be asked.
        self._recount = self._left = True

    def begin(self, make: Callable[[], RLHFState]) -> RLHFState:
        """The state that `make` begins with, with room for all that may be said."""
        return eqx.tree_at(lambda s: s.answers, make(), self._gathered([], []))

    def resumed(self, state: RLHFState, rows: list[dict[str, Any]]) -> RLHFState:
        """Know again what a state was taught that comes from a checkpoint, and show it."""
        state = self.stage.restored(state)
        if self.recorded is None:
            self._taken = self.teacher.taken_before(int(state.round))
            given = self.teacher.answers(self._taken[0])
        else:
            before = sorted(self.recorded)[: int(state.round)]
            given = self.recorded[before[-1]][0] if before else []
        if given:
            self.status.restore(rows, given, jax.device_get(self.stage.show(state.key, state)))
        return state

    def allowed(self, answers: int) -> int:
        """Updates that so many answers are good for."""
        config, regular = self.config, self.config.rounds * self.config.updates
        if answers >= config.labels:
            return regular + config.final_updates
        return answers * regular // config.labels

    def over(self, rows: Sequence[dict[str, Any]]) -> bool:
        """Whether all is said and learned, as `drive` asks."""
        return bool(rows) and bool(rows[-1]["done"])

    def ready(self, state: RLHFState) -> bool:
        """Whether there is something to do; takes a moment to say no."""
        if not self._begun or self.recorded is not None or self._may_practise(state):
            return True
        if self.teacher.changed() and not (self.wait and self.teacher.open()):
            return True
        self.status.tell(state, "waiting")
        time.sleep(PAUSE)
        return False

    def step(self, state: RLHFState, iteration: int) -> tuple[RLHFState, dict[str, Any]]:
        """Play, take in what was said or else make an update, and ask."""
        keys = jax.random.split(jax.random.fold_in(state.key, iteration), 5)
        look_key, ask_key, take_key, show_key, beside_key = keys
        state, trajectory = self.stage.look(look_key, state, self.config)
        taken = self._news(iteration)
        if taken is not None:
            given, bad = taken
            marks = self._marks(given, bad)
            found = self._gathered(
                given, bad if marks is None else [], self._beside(beside_key, state)
            )
            state = self._take_in(take_key, state, found, trajectory, marks)
            showing = self.stage.show(show_key, state)
            self.status.update(taken[0], jax.device_get(showing))
        elif self._may_practise(state):
            state = self.stage.practise(state, trajectory, self.config)
        else:
            state = _skip(state, trajectory, self.config)
        # In the light of what was just said.
        spent = self.recorded is None and not self._put_questions(ask_key, state)
        if not self._begun and self.recorded is None:
            self._compile(state, trajectory)
        self._begun = True
        done = self._is_done(state, spent)
        if done and self.recorded is None:
            self.teacher.withdraw()
        self.status.tell(state, "done" if done else "practising", at_once=done or taken is not None)
        return state, {
            "labels": int(state.answers.count),
            "steps": int(state.steps),
            "updates": int(state.ppo.updates),
            **self._cost(state, trajectory),
            **held_metrics(state),
            "learned_return": self.status.learned_return,
            "foreseen": self.status.foreseen,
            "done": done,
        }

    def _compile(self, state: RLHFState, trajectory: Trajectory | None) -> None:
        """While the first questions are looked at: all that the first answers will need."""
        self.status.tell(state, "waiting", at_once=True)
        marks = self._marks([], [])
        taught = self._take_in(state.key, state, state.answers, trajectory, marks)
        practised = self.stage.practise(taught, trajectory, self.config)
        jax.block_until_ready(self.stage.show(state.key, practised).learned_return)

    def _take_in(self, key, state, answers, trajectory, marks) -> RLHFState:
        return _take_in(key, state, answers, trajectory, marks, self.stage.shown, self.config)

    def _marks(self, given: list[Answer], bad: list[Correction]) -> Marks | None:
        """What must never be, if that is what bad moments are; otherwise they are corrections."""
        room = self.config.never.clips
        return self.teacher.marks(given, bad, room) if room else None

    def _cost(self, state: RLHFState, trajectory: Trajectory | None) -> dict[str, float]:
        """Share of what was just played that must never be, as the model has it."""
        if state.never is None or trajectory is None:
            return {}
        return {"cost": float(_mean_cost(state.never, trajectory))}

    def _may_practise(self, state: RLHFState) -> bool:
        count = int(state.answers.count)
        return count > 0 and int(state.ppo.updates) < self.allowed(count)

    def _is_done(self, state: RLHFState, spent: bool) -> bool:
        """All answers are there, or there is nothing more to ask; and all is learned from them."""
        count = int(state.answers.count)
        if self.recorded is not None:
            spent = int(state.round) >= len(self.recorded)
        return (count >= self.config.labels or spent) and not self._may_practise(state)

    def _put_questions(self, key: PRNGKeyArray, state: RLHFState) -> bool:
        """Ask about the newest behaviour where too little is open; False: nothing is left.

        What is open changes by what is said alone, so it is counted anew after that only.
        """
        if not self._recount or (self.wait and self._may_practise(state)):
            return self._left  # a round to wait for is about the agent as it is after the last
        self._recount, self._left = False, True
        standing, open_ = self.teacher.count()
        wanted = min(self.ahead, self.config.labels - standing)
        if wanted <= open_ or (self.wait and open_):
            return True
        asked = self._room(self.teacher.asked())
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
        return Origin(replay=self.stage.replay(clip, self.config))

    def _news(self, iteration: int) -> Taken | None:
        """What is to be learned from, if that is not what was learned from last."""
        if self.recorded is not None:
            return self.recorded.get(iteration)
        if not self.teacher.changed() or (self.wait and self.teacher.open()):
            return None
        given, corrections = self.teacher.feedback()
        self._recount = True
        given = [one for one in given if not one.skipped][: self.config.labels]
        corrections = corrections[-CORRECTIONS:]
        numbers = [one.id for one in given], [one.id for one in corrections]
        if numbers == self._taken:
            return None
        self._taken = numbers
        self.teacher.record_taken(iteration, *numbers)
        return given, corrections

    def _beside(self, key: PRNGKeyArray, state: RLHFState) -> list[Said]:
        """Each demonstrated clip, and one of the agent's own that it is better than."""
        showable = np.flatnonzero(state.candidates.showable)
        if not self._shown or not len(showable):
            return []
        drawn = np.asarray(jax.random.choice(key, showable, (len(self._shown),)))
        clips = [state.candidates.clips[i] for i in drawn]
        # Nobody said so: it is no annotator's fault where that is wrong.
        by = ANNOTATORS - 1
        return [
            Said(clip, shown, 1.0, annotator=by)
            for clip, shown in zip(clips, self._shown, strict=True)
        ]

    def _gathered(
        self, given: list[Answer], corrections: list[Correction], beside: Sequence[Said] = ()
    ) -> Answers:
        """In arrays whose size is the same from beginning to end."""
        ratings = self.config.labels if self.config.feedback == "ratings" else 0
        more = CORRECTIONS + len(self._shown)
        room = (more if ratings else self.config.labels + more), ratings
        said = [*self.teacher.as_said(given, corrections), *beside]
        answers = gather(said, self._like, *room)
        return answers._replace(count=jnp.full((), len(given), jnp.int32))

    def _room(self, asked: list[Said]):
        room = REMEMBERED * self.config.labels + self.ahead
        sizes = (0, room) if self.config.feedback == "ratings" else (room, 0)
        return gather(asked[-room:], self._like, *sizes).feedback


@partial(jax.jit, static_argnames=("most", "config"))
def _propose(key, state, asked, count, most, config):
    return propose(key, state, asked, count, most, config)


@partial(jax.jit, static_argnames=("shown", "config"))
def _take_in(key, state, answers, trajectory, marks, shown, config):
    if marks is not None:
        never = state.never.taught(jax.random.fold_in(key, NEVER), marks)
        state = eqx.tree_at(lambda s: s.never, state, never)
    state = take_in(key, state, answers, trajectory, shown, config)
    return eqx.tree_at(lambda s: s.round, state, state.round + 1)


@jax.jit
def _mean_cost(never, trajectory):
    return never.cost(trajectory).mean()


@partial(jax.jit, static_argnames=("config",))
def _skip(state, trajectory, config):
    """Nobody said anything, and nothing is to be practised: what was played is not learned from."""
    if trajectory is None or is_told(state.ppo.agent, state.belief):
        return state
    return eqx.tree_at(lambda s: s.ppo, state, ppo.skip(state.ppo, trajectory, config.learning))
