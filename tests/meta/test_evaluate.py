"""Held-out tasks, and what teaching them from a prior and from scratch is charged."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import rlhf
from metarlhf.experiments.evaluation import Curve, adapt_from_prior, adapt_from_scratch
from metarlhf.experiments.references import References, references
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import evaluate
from tests.meta.tiny import FAMILY, LEARNING
from tests.same import assert_same, differ

KEY = jax.random.key(0)
PPO = PPOConfig(num_envs=4, num_steps=20, epochs=1, minibatches=2, hidden=(8,))
FROM_PRIOR = RLHFConfig(labels=4, rounds=2, ask_envs=0, candidates=8)
FROM_SCRATCH = RLHFConfig(labels=3, rounds=2, updates=1, final_updates=4, candidates=8, ppo=PPO)
FEW = EnsembleConfig(members=2, hidden=(8,), fit_steps=2)


@pytest.fixture(scope="module")
def tasks():
    return held_out_tasks(FAMILY, 2)


def test_held_out_tasks_are_always_the_same():
    """Golden: figures of other releases are of these tasks too."""
    goals = held_out_tasks(FAMILY, 3, "validation")
    np.testing.assert_allclose(
        goals, [[-0.182563, -0.056921], [0.067761, -0.287157], [0.205407, 0.090072]], atol=1e-6
    )
    # The third is the third, however many there are.
    np.testing.assert_array_equal(held_out_tasks(FAMILY, 8, "validation")[:3], goals)
    assert differ(held_out_tasks(FAMILY, 3), goals)


def test_no_held_out_task_is_one_that_was_trained_on(states):
    """Of neither split: goals differ in their first digits."""
    held_out = np.concatenate(
        [held_out_tasks(FAMILY, 50, "validation"), held_out_tasks(FAMILY, 50)]
    )
    trained = np.asarray(states[-1].tasks)
    # All that a family could draw from the keys that meta-training begins with.
    drawn = [
        jax.vmap(FAMILY.sample)(jax.random.split(key, 50))
        for seed in range(3)
        for key in (jax.random.key(seed), *jax.random.split(jax.random.key(seed), 6))
    ]
    every = np.concatenate([trained, *map(np.asarray, drawn)])
    distance = np.linalg.norm(held_out[:, None] - every, axis=-1)
    assert distance.min() > 1e-6


def test_normalised_return_is_0_untrained_and_1_with_the_true_reward():
    scale = References(np.array([-40.0, -10.0]), np.array([-20.0, 0.0]))
    np.testing.assert_allclose(scale.normalise(np.array([-40.0, 0.0])), [0, 1])
    np.testing.assert_allclose(scale.normalise(np.array([[-30.0, 5.0], [-60.0, -5.0]])), [
        [0.5, 1.5], [-1.0, 0.5],
    ])  # fmt: skip
    curve = Curve(np.arange(2.0), np.arange(2.0), np.array([[-40.0, -10.0], [-25.0, -1.0]]))
    np.testing.assert_allclose(curve.normalise(scale).returns, [[0, 0], [0.75, 0.9]])
    first = scale.first(1)
    assert first.untrained.tolist() == [-40.0]
    assert first.oracle.tolist() == [-20.0]


@pytest.mark.parametrize(
    ("oracle", "hardly", "scale"),
    [
        ([-10.0, -5.0, 0.0], False, True),
        ([-35.0, -18.0, -1.0], True, True),  # gains 6, where tasks differ by 12.2
        ([10.0, 10.0, -10.5], False, True),  # loses in the last
        ([10.0, 10.0, -10.0], False, False),
    ],
)
def test_an_oracle_that_gains_less_than_tasks_differ_is_told(oracle, hardly, scale):
    found = References(np.array([-40.0, -25.0, -10.0]), np.array(oracle))
    assert found.spread == pytest.approx(150**0.5)
    assert (found.hardly_learns, found.is_a_scale) == (hardly, scale)
    assert found.gains_nothing_in == sum(oracle[i] <= (-40, -25, -10)[i] for i in range(3))


def test_where_ppo_gains_nothing_in_a_task_shares_are_still_of_what_it_gains_over_all():
    found = References(np.array([-40.0, -40.0]), np.array([-1.0, -40.01]))
    returns = np.array([[-20.5, -40.0], [-40.0, -20.5]])
    np.testing.assert_allclose(found.share(returns).mean(1), 19.5 / 38.99, rtol=1e-6)
    np.testing.assert_allclose(found.share(found.oracle), 1.0)
    assert found.normalise(returns)[1].mean() < -900


def test_from_a_prior_every_answer_is_charged_and_asking_about_its_own_clips_takes_no_step(
    prior, tasks
):
    result = adapt_from_prior(KEY, FAMILY, tasks, prior, FROM_PRIOR, episodes=2)
    labels, steps, returns = result.curve
    np.testing.assert_array_equal(labels, [0, 2, 4])
    np.testing.assert_array_equal(steps, [0, 0, 0])
    assert returns.shape == (3, 2)
    # What is measured last is the agent that is handed out.
    last = [true_return(result.agents, tasks, i) for i in range(2)]
    np.testing.assert_allclose(returns[-1], last, rtol=1e-4)


def test_from_a_prior_playing_to_ask_is_charged(prior, tasks):
    config = replace(FROM_PRIOR, ask_envs=3)
    curve = adapt_from_prior(KEY, FAMILY, tasks, prior, config, episodes=2).curve
    np.testing.assert_array_equal(curve.steps, [0, 3 * FAMILY.horizon, 6 * FAMILY.horizon])


def true_return(agents, tasks, i):
    """Navigation starts where it starts and the mode is no chance: any episode is every episode."""
    actor = jax.tree.map(lambda x: x[i], agents).actor
    return float(jax.jit(lambda: evaluate(KEY, FAMILY, tasks[i], actor, 1).mean())())


def test_from_scratch_the_last_updates_are_measured_in_parts(tasks):
    result = adapt_from_scratch(
        KEY, FAMILY, tasks, FROM_SCRATCH, FEW, episodes=2, practice=2
    )  # fmt: skip
    labels, steps, returns = result.curve
    # Two answers and then the third; an update a round, and twice two more.
    np.testing.assert_array_equal(labels, [0, 2, 3, 3, 3])
    np.testing.assert_array_equal(steps / PPO.batch_size, [0, 1, 2, 4, 6])
    assert returns.shape == (5, 2)


def test_updates_that_do_not_part_equally_are_refused(tasks):
    with pytest.raises(
        ValueError, match=r"final_updates \(4\) cannot be measured in 3 equal parts"
    ):
        adapt_from_scratch(KEY, FAMILY, tasks, FROM_SCRATCH, FEW, practice=3)


def test_adapting_is_round_after_round_and_practice_in_one_program(prior, tasks):
    config = replace(FROM_PRIOR, final_updates=1, ppo=PPO)
    whole = prior.run(KEY, FAMILY, tasks[0], config)

    @jax.jit
    def one_by_one():
        state = rlhf.start(
            KEY,
            CompiledSampler(LEARNING, tasks[0], config.ppo.num_envs),
            prior.agent,
            prior.belief,
            config,
            prior.library,
        )
        for _ in range(config.rounds):
            state, _ = rlhf.run_round(
                state, CompiledSampler(LEARNING, tasks[0], config.ppo.num_envs), config
            )
        return rlhf.optimise_policy(
            state, CompiledSampler(LEARNING, tasks[0], config.ppo.num_envs), config, 1
        )[0]

    expected = one_by_one()
    for a, b in zip(jax.tree.leaves(whole.answers), jax.tree.leaves(expected.answers), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(whole.belief.weight, expected.belief.weight, atol=1e-5)
    assert int(whole.answers.count) == 4
    assert int(whole.steps) == PPO.batch_size
    assert jax.tree.structure(whole.ppo.agent) == jax.tree.structure(prior.agent)
    assert differ(whole.ppo.agent, prior.agent)
    assert_same(whole.belief.particles, prior.belief.particles)


def test_references_are_fresh_networks_and_ppo_with_the_true_reward():
    """A short PPO: above what untrained networks do, and in the tasks' own units."""
    config = PPOConfig(
        total_steps=19_200, num_envs=16, num_steps=100, hidden=(16,), gamma=0.9, lr=1e-2,
        evaluate_every=6, evaluation_episodes=1,
    )  # fmt: skip
    goals = jnp.array([[0.4, 0.4], [-0.1, 0.0]])
    found = references(KEY, FAMILY, goals, config, untrained=2)
    # Untrained: it stays about where it is, or drifts off.
    assert found.untrained[0] < -50
    assert (found.oracle > found.untrained).all()
    assert (found.oracle <= 0).all()
    assert found.oracle[0] > -35
