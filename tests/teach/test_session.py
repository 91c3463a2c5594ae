"""The loop that waits for nobody, taught by somebody who answers through the database."""

import itertools
import time
from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sqlalchemy import select

from metarlhf import envs, rlhf
from metarlhf.feedback import blank
from metarlhf.meta import joint
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig, wrong_answers
from metarlhf.reward.config import CostConfig
from metarlhf.reward.likelihood import ANNOTATORS
from metarlhf.rlhf import NeverConfig, RLHFConfig
from metarlhf.sampling import CompiledSampler
from metarlhf.teach import Database, answering, people, questions, tables
from metarlhf.teach.session import TeachingSession
from metarlhf.teach.teacher import PAUSE, HumanTeacher
from tests.meta.tiny import CONFIG as PRIOR
from tests.same import differ

FAMILY = envs.make("navigation/finn2017")
TASK = jnp.array([0.3, 0.3])
SMALL = PPOConfig(num_envs=4, num_steps=40, minibatches=2, hidden=(8,), anneal_lr=False)
CONFIG = RLHFConfig(labels=6, rounds=3, updates=2, final_updates=1, candidates=20, ppo=SMALL)
ENSEMBLE = EnsembleConfig(members=2, hidden=(8,), fit_steps=5)
COUNT = itertools.count()


def make():
    learning = FAMILY.without_termination()
    return rlhf.from_scratch(
        jax.random.key(0), CompiledSampler(learning, TASK, CONFIG.ppo.num_envs), CONFIG, ENSEMBLE
    )


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'labels.db'}")
    yield opened
    opened.close()


def acting():
    return CompiledSampler(FAMILY, TASK, SMALL.num_envs)


def begun(database, config=CONFIG, **options):
    with database.write() as connection:
        run = questions.new_run(connection, FAMILY.name, {})
    teacher = HumanTeacher(database, run, FAMILY, **options.pop("teacher", {}))
    return TeachingSession(teacher, acting(), config, **options)


def say(session, name="ana", how=None, most=1):
    """Answer up to so many questions: whatever ends nearer to the goal is better."""
    said = 0
    with session.teacher.database.write() as connection:
        who = people.local(connection, session.teacher.run, name).id
        for _ in range(most):
            found = answering.lease(connection, session.teacher.run, who)
            if found is None:
                break
            question = found.question
            arrays = questions.arrays(connection, [question.left, question.right])
            ends = [
                float(np.linalg.norm(arrays[clip]["obs"][-1] - np.array(TASK)))
                for clip in (question.left, question.right)
            ]
            choice = how or ("left" if ends[0] < ends[1] else "right")
            answering.answer(
                connection,
                session.teacher.run,
                who,
                question.id,
                f"r{next(COUNT)}",
                1.0,
                choice=choice,
            )
            said += 1
    return said


def taught(session, teach=say, most=60):
    """Go on until all is learned; between two steps somebody may say something."""
    state, rows, iteration = session.begin(make()), [], 0
    while not session.is_over(rows):
        if not session.ready(state):
            teach(session)
            continue
        state, row = session.step(state, iteration)
        rows.append(row)
        iteration += 1
        assert iteration < most, rows
    return state, rows


def after(session, state, iteration=1):
    """The next step, as soon as there is one to make."""
    while not session.ready(state):
        pass
    return session.step(state, iteration)


def test_all_answers_are_asked_for_and_learned_from(database):
    session = begun(database)
    state, rows = taught(session)
    assert rows[-1]["labels"] == CONFIG.labels
    assert rows[-1]["updates"] == 3 * 2 + 1
    counts = [row["labels"] for row in rows]
    assert counts == sorted(counts)
    assert rows[0]["labels"] == 0
    with database.read() as connection:
        answers = questions.answers(connection, session.teacher.run)
        told, _ = questions.status(connection, session.teacher.run)
    # What it learned from is what was said, in its own order of clips.
    kept = state.answers.feedback.comparisons
    assert int(kept.weight.sum()) == len(answers) == CONFIG.labels
    np.testing.assert_array_equal(kept.preference[:6], [one.preference for one in answers])
    assert told["doing"] == "done"
    assert (told["answers"], told["updates"]) == (6, 7)
    assert told["curve"][-1][0] == 6


def test_answers_are_filed_under_who_gave_them(database):
    """By number, in the order in which people came; what was demonstrated is nobody's answer."""
    names = itertools.cycle(("ben", "ana", "ben"))
    shown = blank(FAMILY, 2)
    session = begun(database, demonstrated=shown)
    state, _ = taught(session, teach=lambda session: say(session, next(names)))
    assert session.teacher.people() == ["ben", "ana"]
    with database.read() as connection:
        answers = questions.answers(connection, session.teacher.run)
    assert {one.annotator for one in answers} == {"ben", "ana"}
    kept = state.answers.feedback.comparisons
    numbers = [["ben", "ana"].index(one.annotator) for one in answers]
    np.testing.assert_array_equal(kept.annotator[:6], numbers)
    assert (np.asarray(kept.annotator)[6:8] == ANNOTATORS - 1).all()
    wrong = wrong_answers(knowing(state.belief), state.answers.feedback, session.teacher.people())
    assert set(wrong) == {"ben", "ana"}


def knowing(belief):
    """A belief that takes a share of what is said for guesses."""
    return eqx.tree_at(lambda b: b.lapse_logit, belief, jnp.zeros_like(belief.lapse_logit))


def test_it_makes_no_update_before_the_first_answer_and_waits_for_none_it_has_work_without(
    database,
):
    session = begun(database)
    state = session.begin(make())
    assert session.ready(state)
    state, row = session.step(state, 0)
    assert (row["updates"], session.teacher.open()) == (0, 3)
    assert not session.ready(state)
    say(session)
    # One answer is good for one update of six answers' six, and the step that takes it in makes it.
    state, row = after(session, state)
    assert (row["labels"], row["updates"]) == (1, session.allowed(1))


def test_no_question_comes_twice_and_the_newest_comes_first(database):
    session = begun(database)
    taught(session)
    with database.read() as connection:
        asked = questions.questions(connection, session.teacher.run)
    pairs = [frozenset((one.left, one.right)) for one in asked]
    assert len(set(pairs)) == len(pairs) >= CONFIG.labels
    assert len({one.round for one in asked}) > 1


def test_what_is_skipped_costs_nothing_and_what_is_equal_counts(database):
    kinds = itertools.cycle(["skip", "equal"])
    session = begun(database)
    state, rows = taught(session, lambda session: say(session, how=next(kinds)))
    assert rows[-1]["labels"] == CONFIG.labels
    np.testing.assert_array_equal(state.answers.feedback.comparisons.preference[:6], 0.5)


def test_what_is_taken_back_is_learned_from_no_more(database):
    session = begun(database)
    state = session.begin(make())
    state, _ = session.step(state, 0)
    say(session, how="left", most=2)
    state, row = after(session, state)
    assert row["labels"] == 2
    with database.write() as connection:
        who = people.local(connection, session.teacher.run, "ana").id
    for left in (1, 0):
        with database.write() as connection:
            answering.undo(connection, session.teacher.run, who, f"u{left}")
        for iteration in range(2, 9):  # it may have an update to make before it looks
            state, row = after(session, state, iteration + 10 * (1 - left))
            if row["labels"] == left:
                break
        assert row["labels"] == left
        assert int(state.answers.feedback.comparisons.weight.sum()) == left


def test_a_bad_moment_is_a_comparison_of_the_clip_with_one_that_is_all_like_it(database):
    session = begun(database)
    state, _ = session.step(session.begin(make()), 0)
    with database.write() as connection:
        who = people.local(connection, session.teacher.run, "ana").id
        clip = answering.lease(connection, session.teacher.run, who).question.left
        answering.correct(connection, session.teacher.run, who, clip, 3, "c")
        shown = questions.arrays(connection, [clip])[clip]["obs"]
    say(session)
    state, row = after(session, state)
    kept = state.answers.feedback.comparisons
    assert (row["labels"], int(kept.weight.sum())) == (1, 2)
    np.testing.assert_array_equal(kept.right.obs[1], shown)
    np.testing.assert_array_equal(kept.left.obs[1], np.repeat(shown[3:4], len(shown), 0))
    assert kept.preference[1] == 1


def test_a_bad_moment_may_mean_never_this(database):
    """It is no comparison then, but a mark in a clip all of which was looked over."""
    never = NeverConfig(clips=5, model=CostConfig(members=2, hidden=(8,), fit_steps=5))
    config = replace(CONFIG, never=never)
    session = begun(database, config)
    start = partial(rlhf.from_scratch, jax.random.key(0), session.sampler)
    before = session.begin(start(config, ENSEMBLE))
    state, row = session.step(before, 0)
    assert row["cost"] == 0
    with database.write() as connection:
        who = people.local(connection, session.teacher.run, "ana").id
        question = answering.lease(connection, session.teacher.run, who).question
        answering.correct(connection, session.teacher.run, who, question.left, 3, "c")
        shown = questions.arrays(connection, [question.left, question.right])
    say(session)
    state, row = after(session, state)
    assert (row["labels"], int(state.answers.feedback.comparisons.weight.sum())) == (1, 1)
    marks = state.cost_constraint.marks
    np.testing.assert_array_equal(marks.weight, [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(marks.clips.obs[0], shown[question.left]["obs"])
    np.testing.assert_array_equal(marks.clips.obs[1], shown[question.right]["obs"])
    assert np.argwhere(marks.forbidden).tolist() == [[0, 3]]
    assert differ(state.cost_constraint.model, before.cost_constraint.model)
    assert 0 < row["cost"] < 1
    assert (row["never_clips"], row["never_marked"]) == (2, 1)


def test_done_again_without_its_people_it_is_the_same_to_the_last_bit(database):
    session = begun(database)
    state, rows = taught(session)
    recorded = {}
    with database.read() as connection:
        for iteration, (answers, marks) in questions.taken(connection, session.teacher.run).items():
            found = questions.answers(connection, session.teacher.run, numbers=answers)
            recorded[iteration] = (
                found,
                questions.corrections(connection, session.teacher.run, numbers=marks),
            )
    again = begun(database, recorded=recorded)
    again.teacher.source = database, session.teacher.run
    replayed, same_rows = taught(again, lambda session: pytest.fail("somebody was asked"))
    assert [row["labels"] for row in same_rows] == [row["labels"] for row in rows]
    same = jax.tree.map(lambda a, b: np.array_equal(a, b), state.ppo.agent, replayed.ppo.agent)
    assert all(jax.tree.leaves(same))
    assert session.teacher.run != again.teacher.run


def test_with_wait_nothing_is_done_until_a_round_is_answered(database):
    session = begun(database, wait=True)
    state, _ = session.step(session.begin(make()), 0)
    assert session.teacher.open() == CONFIG.labels_per_round == 2
    say(session)
    assert not session.ready(state)
    say(session)
    assert session.ready(state)
    _, row = after(session, state)
    assert row["labels"] == 2


def test_one_person_alone_can_be_learned_from(database):
    session = begun(database, teacher={"annotator": "ben"})
    state, _ = session.step(session.begin(make()), 0)
    say(session, "ana")
    say(session, "ben")
    _, row = after(session, state)
    assert row["labels"] == 1


def a_prior():
    learning = FAMILY.without_termination()
    return joint.prior_of(
        jax.jit(joint.init, static_argnums=(1, 2))(jax.random.key(0), learning, PRIOR),
        learning,
        PRIOR,
    )


def test_what_is_taken_back_when_nothing_else_is_left_to_ask_is_asked_again(database):
    """Of three clips there are three questions. When all are answered it still practises."""
    prior, told = a_prior(), None
    config = RLHFConfig(labels=90, rounds=90, updates=3, ask_envs=0, candidates=50, ppo=SMALL)
    library = prior.library[jnp.arange(3)]
    session = begun(database, config)
    start = lambda: rlhf.start(
        jax.random.key(0),
        CompiledSampler(FAMILY, TASK, config.ppo.num_envs),
        prior.agent,
        prior.belief,
        config,
        library,
    )
    state, rows = session.begin(start()), []
    while not session.is_over(rows):
        ready, count = session.ready(state), int(state.answers.count)
        if count == 3 and told is None:
            with database.write() as connection:
                who = people.local(connection, session.teacher.run, "ana").id
                told = answering.undo(connection, session.teacher.run, who, "undo")
            time.sleep(2 * PAUSE)  # until it looks again
        elif not ready:
            assert say(session) == 1
            continue
        state, row = session.step(state, len(rows))
        rows.append(row)
        assert len(rows) < 60
    counts = [row["labels"] for row in rows]
    assert counts.index(3) < len(counts) - 1 - counts[::-1].index(2)  # two again, and three again
    assert counts[-1] == 3


def test_a_prior_is_taught_without_a_step(database):
    prior = a_prior()
    config = RLHFConfig(labels=4, rounds=2, ask_envs=0, candidates=20, ppo=SMALL)
    session = begun(database, config)
    start = lambda: rlhf.start(
        jax.random.key(0),
        CompiledSampler(FAMILY, TASK, config.ppo.num_envs),
        prior.agent,
        prior.belief,
        config,
        prior.library,
    )
    state, rows, iteration = session.begin(start()), [], 0
    while not session.is_over(rows):
        if not session.ready(state):
            assert say(session) == 1
            continue
        state, row = session.step(state, iteration)
        rows.append(row)
        iteration += 1
    assert (rows[-1]["labels"], rows[-1]["steps"]) == (4, 0)
    with database.read() as connection:
        sources = connection.execute(select(tables.clips.c.source).distinct()).scalars()
        assert set(sources) == {"library", "now"}
    before = prior.agent.actor.context
    assert not np.array_equal(state.ppo.agent.actor.context, before)


def test_what_was_taken_in_after_a_checkpoint_is_struck_from_the_record(database):
    """Or a session that was killed could not be done again without its people."""
    session = begun(database)
    state, _ = session.step(session.begin(make()), 0)
    say(session)
    kept, row = after(session, state)
    say(session)
    _, later = after(session, kept, 2)
    while later["labels"] == row["labels"]:
        _, later = after(session, kept, 3)
    again = TeachingSession(session.teacher, acting(), CONFIG)
    again.restore(kept, [row])
    with database.read() as connection:
        assert len(questions.taken(connection, session.teacher.run)) == int(kept.round) == 1
    assert again.status.curve == [(1, row["learned_return"])]
    assert again.status.now is not None


def test_bad_moments_of_others_are_not_learned_from_either(database):
    session = begun(database, teacher={"annotator": "ben"})
    state, _ = session.step(session.begin(make()), 0)
    with database.write() as connection:
        run = session.teacher.run
        who = people.local(connection, run, "ana").id
        clip = answering.lease(connection, run, who).question.left
        answering.correct(connection, run, who, clip, 3, "c")
    say(session, "ben")
    state, _ = after(session, state)
    assert int(state.answers.feedback.comparisons.weight.sum()) == 1


def test_what_was_shown_counts_as_better_than_what_the_agent_does(database):
    shown = jax.tree.map(lambda x: jnp.ones((3, *x.shape[1:]), x.dtype), blank(FAMILY, 1))
    session = begun(database, demonstrated=shown)
    state, _ = session.step(session.begin(make()), 0)
    say(session)
    state, row = after(session, state)
    kept = state.answers.feedback.comparisons
    assert (row["labels"], int(kept.weight.sum())) == (1, 4)
    np.testing.assert_array_equal(kept.right.obs[1:4], shown.obs)
    np.testing.assert_array_equal(kept.preference[1:4], 1.0)
    assert not np.array_equal(kept.left.obs[1], kept.left.obs[2])
