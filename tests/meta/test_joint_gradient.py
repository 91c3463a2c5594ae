"""Joint meta-training by gradients, paid by a teacher's answers or by the task."""

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.errors import PublishedFileError, WrongFamilyError
from metarlhf.experiments.evaluation import adapt_from_prior
from metarlhf.feedback import Teacher
from metarlhf.files import DESCRIPTION
from metarlhf.meta import joint_gradient, outer
from metarlhf.meta.config import GradientRewardConfig, JointGradientConfig, MetaRLConfig
from metarlhf.meta.estimators import judge
from metarlhf.meta.inner import play_and_adapt
from metarlhf.meta.prior import load_prior
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.reward import LearnedReward
from metarlhf.rlhf import RLHFConfig
from metarlhf.runs.checkpoint import Checkpoints
from metarlhf.sampling import CompiledTaskSampler
from tests.paid import Paid
from tests.same import assert_same, differ

FAMILY = envs.make("navigation")
SAMPLER = CompiledTaskSampler(FAMILY)
POLICY = MetaRLConfig(
    inner_steps=2, meta_batch=3, episodes=2, iterations=3, epochs=1, hidden=(8,), learn_offset=True
)
TEACHER = JointGradientConfig(
    policy=POLICY,
    model=GradientRewardConfig(members=2, hidden=(8,), inner_steps=2, batch_tasks=2, support=4),
    first_reward_steps=2, reward_steps=2, inner_labels=3, outer_labels=6, candidates=8, pool=64,
    pool_new=8, clips=16, library=24,
)  # fmt: skip
TASK = replace(TEACHER, reward="task")
ASKING = RLHFConfig(labels=4, rounds=2, candidates=8)


def trained(config):
    begin = joint_gradient.init(jax.random.key(0), FAMILY, config)
    return [begin, *(state for state, _ in joint_gradient.meta_train(begin, FAMILY, config))]


@pytest.fixture(scope="module", params=["teacher", "task"])
def config(request):
    return {"teacher": TEACHER, "task": TASK}[request.param]


@pytest.fixture(scope="module")
def states(config):
    return trained(config)


@pytest.fixture(scope="module")
def prior(states, config):
    return joint_gradient.prior_of(states[-1], FAMILY, config)


@pytest.fixture(scope="module")
def taught():
    prior = joint_gradient.prior_of(trained(TEACHER)[-1], FAMILY, TEACHER)
    tasks = held_out_tasks(FAMILY, 3)
    return prior, tasks, prior.loops(jax.random.key(5), FAMILY, tasks, ASKING, 2)


def test_saved_in_between_it_goes_on_bit_for_bit(states, config, tmp_path):
    Checkpoints(tmp_path).save(1, states[1])
    restored = Checkpoints(tmp_path).restore(joint_gradient.init(jax.random.key(9), FAMILY, config))
    assert restored is not None
    rest = list(joint_gradient.meta_train(restored[1], FAMILY, config))
    assert [metrics["iteration"] for _, metrics in rest] == [2, 3]
    assert all(np.isfinite(value) for _, metrics in rest for value in metrics.values())
    assert_same(rest[-1][0], states[-1])


def test_every_iteration_moves_all_that_is_learned(states, config):
    parts = [
        lambda s: s.policy.agent.actor,
        lambda s: s.policy.agent.critic,
        lambda s: s.policy.rule,
    ]
    if config.reward == "teacher":
        reward = lambda s: s.learned.training.reward
        parts += [lambda s: reward(s).initial, lambda s: reward(s).log_step_sizes]
        parts += [lambda s: s.learned.pool]
    else:
        assert states[-1].learned is None
    for before, after in pairwise(states):
        assert all(differ(part(before), part(after)) for part in parts)


def test_paid_by_the_task_it_is_the_outer_loop_of_meta_rl():
    before, after = trained(TASK)[:2]
    _, task_key, _, play_key, _ = jax.random.split(before.key, 5)
    tasks = jax.vmap(FAMILY.sample)(jax.random.split(task_key, POLICY.meta_batch))

    @jax.jit
    def expected(policy):
        agents = jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), policy.agent)
        play = partial(play_and_adapt, play_key, SAMPLER, tasks, agents)
        return outer.learn(policy, play(policy.rule, POLICY, 2), POLICY)[0]

    for one, other in zip(
        jax.tree.leaves(expected(before.policy).agent),
        jax.tree.leaves(after.policy.agent),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_teacher_may_give_marks_on_a_scale_of_its_own():
    config = replace(TEACHER, teacher=Teacher(levels=5))
    begun = jax.eval_shape(lambda: joint_gradient.init(jax.random.key(0), FAMILY, config))
    after = jax.eval_shape(lambda s: joint_gradient.meta_iterate(s, FAMILY, config)[0], begun)
    assert jax.tree.structure(after) == jax.tree.structure(begun)


def test_each_task_is_taught_by_answers_about_itself(taught):
    _, tasks, (loop, answers) = taught
    np.testing.assert_array_equal(answers.count, [4, 4, 4])
    asked = answers.feedback.comparisons
    # The answers follow from each task's own reward for what was shown.
    difference = (asked.right.task_reward - asked.left.task_reward).sum(-1)
    np.testing.assert_array_equal(asked.preference > 0.5, difference > 0)
    for i in range(3):
        reached = asked.right.obs[i, :, 1:]  # where a step led is where the next begins
        distance = jnp.linalg.norm(reached - tasks[i], axis=-1)
        np.testing.assert_allclose(asked.right.task_reward[i, :, :-1], -distance, atol=1e-5)
    # Nothing is known at first: all start alike, and part by what they are told.
    first, last = (jax.tree.map(lambda x: x[step], loop.agents.actor.network) for step in (0, -1))
    alike = lambda agents, i: not differ(*(jax.tree.map(lambda x: x[j], agents) for j in (0, i)))
    assert alike(first, 1)
    assert not alike(last, 1)
    assert loop.returns.shape == (3, 3, POLICY.episodes)


def test_what_pays_is_the_reward_that_each_tasks_own_answers_make(taught):
    """Adapted anew from the answers, one task at a time, it gives what every step learned from."""
    prior, _, (loop, answers) = taught
    # As the simulator paid, for all to see.
    np.testing.assert_array_equal(loop.played.reward, loop.played.task_reward)

    @jax.jit
    def paid_by(told, agent, played):
        belief = prior.belief.adapt(jax.random.key(0), told)
        paid = LearnedReward(belief, prior.library.clips)(played)
        p = POLICY
        return judge(agent, paid, p.gamma, p.gae_lambda, p.normalise_advantage, p.baseline_ridge)

    def by_answers_of(other, task, step):
        told = jax.tree.map(lambda x: x[other], answers.feedback)
        return paid_by(told, *jax.tree.map(lambda x: x[step, task], (loop.agents, loop.played)))

    for task, step in product(range(3), range(2)):
        learned_from = jax.tree.map(lambda x: x[step, task], loop.support)
        own = by_answers_of(task, task, step)
        others = by_answers_of((task + 1) % 3, task, step)
        np.testing.assert_allclose(learned_from.value_target, own.value_target, atol=1e-3)
        np.testing.assert_allclose(learned_from.advantage, own.advantage, atol=1e-2)
        assert float(jnp.abs(learned_from.value_target - others.value_target).max()) > 0.1


def test_a_new_tasks_true_reward_is_seen_by_the_teacher_alone(taught):
    """Where the teacher says the same of another true reward, the same is learned."""
    prior, family = taught[0], Paid()

    def adapted(wage):
        tasks = jnp.full((3, 2), wage)
        return prior.loops(jax.random.key(5), family, tasks, ASKING, 2)[0]

    one, other = adapted(-2.0), adapted(-7.0)
    assert differ(one.returns, other.returns)
    for same in ("agents", "support", "query"):
        assert_same(getattr(one, same), getattr(other, same))
    first, last = (jax.tree.map(lambda x: x[step], one.agents.actor) for step in (0, -1))
    assert differ(first, last)


@pytest.fixture(scope="module")
def begun():
    return joint_gradient.init(jax.random.key(0), FAMILY, TEACHER)


def test_training_tasks_true_rewards_are_seen_by_the_teacher_alone(begun):
    """As a new task's are: inner loop, outer loop and reward learn the same of other ones."""

    @jax.jit
    def after(state, wage):
        return joint_gradient.meta_iterate(state, Paid(wage), TEACHER)

    (one, metrics), (other, other_metrics) = after(begun, -2.0), after(begun, -7.0)
    assert float(metrics["return"]) > float(other_metrics["return"])
    assert_same(one.policy, other.policy)
    assert_same(one.learned.training, other.learned.training)
    assert differ(begun.policy.agent.actor, one.policy.agent.actor)


def test_few_answers_make_what_policies_adapt_by_and_many_what_they_are_judged_by(begun):
    """So other numbers of many leave all episodes as they were, and teach another policy."""

    def after(outer_labels):
        state, metrics = joint_gradient.iterate(
            begun, FAMILY, replace(TEACHER, outer_labels=outer_labels)
        )
        return state, [float(metrics[name]) for name in ("return_before", "return")]

    (few, played), (many, same) = after(TEACHER.outer_labels), after(TEACHER.outer_labels + 1)
    assert played == same
    assert_same(few.learned.pool, many.learned.pool)
    assert differ(few.policy.agent.actor, many.policy.agent.actor)


def test_the_curve_charges_every_answer_and_every_step(prior, config):
    tasks = held_out_tasks(FAMILY, 2)
    result = adapt_from_prior(jax.random.key(1), FAMILY, tasks, prior, ASKING, episodes=2, steps=3)
    labels = 4.0 if config.reward == "teacher" else 0.0
    np.testing.assert_array_equal(result.curve.labels, [0, labels, labels, labels])
    np.testing.assert_array_equal(result.curve.steps, [0, 200, 400, 600])
    assert result.curve.returns.shape == (4, 2)
    assert (result.feedback is None) == (config.reward == "task")


def test_a_prior_survives_a_round_trip_and_no_other_family(prior, tmp_path):
    folder = prior.save(tmp_path / "prior", {"seed": 3})
    found = load_prior(folder, "navigation")
    assert_same(found, prior)
    assert found.shape == prior.shape
    with pytest.raises(WrongFamilyError, match="'navigation/finn2017', not on 'reacher'"):
        load_prior(folder, "reacher")


@pytest.mark.parametrize("spoil", [{"family": "chess"}, {"policy": {"method": "sarsa", "no": 1}}])
def test_a_changed_description_is_refused(prior, tmp_path, spoil):
    folder = prior.save(tmp_path / "prior")
    description = json.loads((folder / DESCRIPTION).read_text())
    description["shape"] |= spoil
    (folder / DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(PublishedFileError, match="does not say of what shape the prior is"):
        load_prior(folder)


def test_sizes_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="library must be 1 to 64, but is 65"):
        replace(TEACHER, library=65)
    with pytest.raises(ValueError, match="inner_labels must be at least 1, but is 0"):
        replace(TEACHER, inner_labels=0)
