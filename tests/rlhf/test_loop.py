"""The loop: budgets, what the agent learns from and what stays hidden from it."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, rlhf
from metarlhf.networks import build_agent
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig, LatentPosterior, LatentReward
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import evaluate
from tests.paid import Paid
from tests.same import assert_same, differ

FAMILY = envs.make("navigation").without_termination()
GOAL, KEY = jnp.array([-0.4, 0.3]), jax.random.key(0)
SMALL = RLHFConfig(
    labels=4, rounds=2, ask_envs=2, candidates=20,
    ppo=PPOConfig(num_envs=4, num_steps=20, epochs=1, minibatches=2, hidden=(8,)),
)  # fmt: skip
FEW = EnsembleConfig(members=2, hidden=(8,), fit_steps=10)
# Five answers in each of twenty rounds, but three in the last.
CONFIG = RLHFConfig(
    labels=98, rounds=20, updates=4, candidates=100, remembered_rounds=3,
    ppo=PPOConfig(num_envs=16, hidden=(32,), gamma=0.97, lr=3e-3, anneal_lr=False),
)  # fmt: skip


def sampler(config, family=FAMILY, goal=GOAL):
    return CompiledSampler(family, goal, config.ppo.num_envs)


run_round = jax.jit(rlhf.run_round, static_argnames=("config",))
practise = jax.jit(rlhf.optimise_policy, static_argnames=("config", "updates"))


class OverAtOnce(envs.Navigation):
    """Every step ends the episode, but in the endless family, which is navigation's own."""

    def step(self, key, state, action, task):
        return super().step(key, state, action, task)._replace(terminated=jnp.array(True))


@pytest.fixture(scope="module")
def rounds():
    """The states before and after each of 21 rounds from scratch, one more than there is to ask."""
    key = jax.random.key(1)
    states = [
        rlhf.from_scratch(
            key,
            sampler(CONFIG),
            CONFIG,
            EnsembleConfig(hidden=(32, 32)),
        )
    ]
    for _ in range(21):
        states.append(run_round(states[-1], sampler(CONFIG), CONFIG)[0])
    return states


def test_answers_steps_and_updates_are_counted_and_within_the_budget(rounds):
    told = [*range(0, 100, 5), 98, 98]
    assert [int(s.answers.count) for s in rounds] == told
    assert [float(s.answers.feedback.count) for s in rounds] == told
    assert [int(s.round) for s in rounds] == list(range(22))
    # The first update of a round learns from what was collected to ask about.
    assert [int(s.steps) for s in rounds] == list(range(0, 22 * 6400, 6400))
    assert [int(s.ppo.updates) for s in rounds] == list(range(0, 22 * 4, 4))


def test_a_person_who_prefers_being_near_the_goal_gets_an_agent_that_goes_there(rounds):
    """Of a hundred comparisons alone: an untaught agent loses 50, the best one about 2."""
    score = jax.jit(lambda actor: evaluate(KEY, FAMILY, GOAL, actor, 1).mean())
    before, after = (float(score(rounds[i].ppo.agent.actor)) for i in (0, -1))
    assert before < -40
    assert after > -20


def test_a_round_changes_reward_and_policy(rounds):
    assert differ(rounds[0].belief, rounds[1].belief)
    assert differ(rounds[0].ppo.agent.actor, rounds[1].ppo.agent.actor)
    assert_same(rounds[1].reward.belief, rounds[1].belief)


def test_clips_of_the_last_rounds_are_remembered(rounds):
    """19 clips in each of 16 environments and in each of three rounds."""
    one = 19 * 16
    shown = [int(s.candidates.showable.sum()) for s in rounds[:5]]
    assert shown[0] == 0
    assert 0 < shown[1] < shown[2] < shown[3] <= 3 * one
    newest, before = rounds[4].candidates, rounds[3].candidates
    np.testing.assert_array_equal(newest.clips.obs[one:], before.clips.obs[: 2 * one])
    np.testing.assert_array_equal(newest.showable[one:], before.showable[: 2 * one])


def test_true_rewards_are_seen_by_the_teacher_alone():
    """Where the teacher says the same of another true reward, nothing else is different."""
    family = Paid()
    config = replace(SMALL, updates=2)
    one, other = jnp.array([-1.0, 0.0]), jnp.array([-7.0, 0.0])
    start = rlhf.from_scratch(KEY, sampler(config, family, one), config, FEW)
    after = [run_round(start, sampler(config, family, task), config)[0] for task in (one, other)]
    assert differ(after[0].candidates.clips, after[1].candidates.clips)  # what teachers see
    assert_same(after[0].ppo, after[1].ppo)
    assert_same(after[0].belief, after[1].belief)
    assert differ(start.ppo.agent.actor, after[0].ppo.agent.actor)


def test_the_same_state_gives_the_same_round(rounds):
    assert_same(
        run_round(rounds[1], sampler(CONFIG), CONFIG)[0],
        rounds[2],
    )


def test_practice_goes_on_without_asking(rounds):
    after, metrics = practise(rounds[-1], sampler(CONFIG), CONFIG, 1)
    assert_same(after.answers, rounds[-1].answers)
    assert_same(after.belief, rounds[-1].belief)
    assert int(after.ppo.updates) - int(rounds[-1].ppo.updates) == 1
    assert int(after.steps) - int(rounds[-1].steps) == 1600
    assert np.isfinite(float(metrics["policy_loss"]))


def test_an_agent_from_scratch_is_made_as_ppo_would_make_it():
    config = replace(SMALL, updates=1, ppo=replace(SMALL.ppo, memory="gru", normalise_obs=True))
    state = rlhf.from_scratch(KEY, sampler(config), config, FEW)
    assert state.ppo.agent.actor.body.memory is not None
    after = run_round(state, sampler(config), config)[0]
    before, moments = (s.ppo.agent.actor.body.moments for s in (state, after))
    assert differ(before, moments)
    assert int(after.answers.count) == 2


def test_no_end_of_an_episode_gives_the_task_away():
    """Where the family ends episodes, it is taught as if it did not: asking as well as practice."""
    config = replace(SMALL, updates=2)

    def taught(family):
        start = rlhf.from_scratch(KEY, sampler(config, family), config, FEW)
        after = run_round(start, sampler(config, family), config)[0]
        return (
            start,
            after,
            practise(after, sampler(config, family), config, 1)[0],
        )

    assert_same(taught(OverAtOnce()), taught(FAMILY))


def test_marks_serve_as_well():
    config = replace(SMALL, feedback="ratings")
    state = rlhf.from_scratch(KEY, sampler(config), config, FEW)
    after = run_round(state, sampler(config), config)[0]
    marks = after.answers.feedback.ratings
    assert int(after.answers.count) == 2
    assert set(np.asarray(marks.value[:2])) <= set(range(1, 11))
    assert differ(after.belief, state.belief)
    assert_same(after.ppo.agent, state.ppo.agent)


def test_an_agent_with_a_prior_is_told_what_is_believed():
    model = LatentReward(FAMILY, key=KEY, latent_size=3, num_features=6, hidden=(8,))
    model = eqx.tree_at(lambda m: m.decoder, model, jax.tree.map(lambda x: 8 * x, model.decoder))
    belief = LatentPosterior.prior(model, jax.random.normal(jax.random.key(1), (40, 3)))
    agent = build_agent(KEY, FAMILY, (8,), context_size=3)
    config = SMALL
    state = rlhf.start(KEY, sampler(config), agent, belief, config)
    np.testing.assert_allclose(state.ppo.agent.actor.context, belief.context(), rtol=1e-5)
    after = run_round(state, sampler(config), config)[0]
    assert int(after.steps) == 2 * FAMILY.horizon
    assert int(after.answers.count) == 2
    context = after.ppo.agent.actor.context
    np.testing.assert_allclose(context, after.belief.context(), rtol=1e-5)
    assert float(jnp.abs(context - belief.context()).max()) > 1e-4
    assert_same(after.ppo.agent.actor.network, agent.actor.network)


def test_there_must_be_something_to_ask_about():
    model = LatentReward(FAMILY, key=KEY, latent_size=3, num_features=6, hidden=(8,))
    belief = LatentPosterior.prior(model, jnp.zeros((4, 3)))
    agent = build_agent(KEY, FAMILY, (8,), context_size=3)
    with pytest.raises(ValueError, match="ask_envs is 0, and there is no library"):
        rlhf.start(
            KEY,
            sampler(SMALL),
            agent,
            belief,
            replace(SMALL, ask_envs=0),
        )


def test_clips_longer_than_what_is_played_are_refused():
    config = replace(SMALL, ppo=replace(SMALL.ppo, num_steps=5))
    with pytest.raises(ValueError, match=r"ppo\.num_steps is 5, but clips of navigation.* have 10"):
        rlhf.from_scratch(KEY, sampler(config), config, FEW)


@pytest.mark.parametrize("name", ["pessimism", "clip_reward"])
def test_care_changes_what_a_policy_learns_from_and_nothing_before(name):
    """Of the same play and the same answers."""
    config = replace(SMALL, updates=1, **{name: 1.0 if name == "pessimism" else True})
    plain, careful = (
        run_round(
            rlhf.from_scratch(KEY, sampler(c), c, FEW),
            sampler(c),
            c,
        )[0]
        for c in (replace(SMALL, updates=1), config)
    )
    assert_same(plain.belief, careful.belief)
    assert_same(plain.answers, careful.answers)
    assert differ(plain.ppo.agent, careful.ppo.agent)
    assert (careful.reward.bounds is not None) == (name == "clip_reward")
    assert careful.reward.pessimism == float(name == "pessimism")


def test_bad_pessimism_is_refused():
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="pessimism must be 0 or more, and finite"):
            RLHFConfig(pessimism=bad)
    alone = replace(FEW, members=1)
    with pytest.raises(ValueError, match="at least two members"):
        rlhf.from_scratch(
            KEY,
            sampler(SMALL),
            replace(SMALL, pessimism=1.0),
            alone,
        )
