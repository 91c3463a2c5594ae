"""What was tuned for each family exists, fits together, and is what its name says."""

from dataclasses import replace
from functools import partial

import jax
import pytest

from metarlhf import envs, ppo, rlhf
from metarlhf.experiments.references import references
from metarlhf.meta import joint
from metarlhf.meta.presets import FAMILIES, preset
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.sampling import CompiledSampler

KEY = jax.random.key(0)
every_family = pytest.mark.parametrize("name", [*FAMILIES, "navigation/pearl2019"])


@every_family
def test_teaching_with_ten_and_with_twenty_answers_asks_just_these(name):
    found = preset(name)
    for config, labels in ((found.ten, 10), (found.twenty, 20), (found.ratings, 10)):
        assert config.labels == labels
        assert config.labels_per_round * config.rounds == labels
    assert found.ten.feedback == found.twenty.feedback == "comparisons"
    assert found.ratings.feedback == "ratings"


@every_family
def test_of_the_two_ways_from_scratch_each_spares_what_its_name_says(name):
    def steps(config):
        updates = config.rounds * config.updates + config.final_updates
        return updates * config.ppo.batch_size

    few_labels, few_steps = preset(name).few_labels, preset(name).few_steps
    assert few_labels.labels < few_steps.labels
    assert steps(few_steps) < steps(few_labels)


@pytest.mark.slow
def test_the_upper_end_of_the_scale_is_learned_whatever_the_size_of_rewards():
    """A rod that is paid down to -16 a step; `ORACLE` gains next to nothing there."""
    name = "gymnax:Pendulum-v1?g=uniform(5,15)"
    family, config = envs.make_family(name), replace(preset(name).oracle, total_steps=60_000)
    tasks = held_out_tasks(family, 2, "validation")
    found = references(KEY, family, tasks, config, untrained=1)
    assert (found.oracle - found.untrained > 500).all()
    assert not found.hardly_learns


@every_family
def test_the_first_look_is_the_shorter_meta_training(name):
    assert preset(name).demo.iterations < preset(name).joint.iterations


@every_family
def test_every_preset_builds_and_teaches(name):
    """Traced only, shapes and types checked: meta-training, teaching, scratch and the oracle."""
    family, found = envs.make(name).without_termination(), preset(name)
    task = family.sample(KEY)
    sampler = lambda ppo: CompiledSampler(family, task, ppo.num_envs)
    trace = jax.eval_shape
    state = trace(partial(joint.init, KEY, family, found.joint))
    state, _ = trace(partial(joint.iterate, family=family, config=found.joint), state)
    prior = trace(partial(joint.prior_of, family=family, config=found.joint), state)

    def taught(prior, config):
        state = rlhf.start(
            KEY,
            sampler(config.ppo),
            prior.agent,
            prior.belief,
            config,
            prior.library,
        )
        state = rlhf.run_round(state, sampler(config.ppo), config)[0]
        return rlhf.optimise_policy(state, sampler(config.ppo), config, config.final_updates)[0]

    for config in (found.ten, found.twenty, found.ratings):
        trace(partial(taught, config=config), prior)
    for config in (found.few_labels, found.few_steps):
        state = trace(partial(rlhf.from_scratch, KEY, sampler(config.ppo), config))
        trace(partial(rlhf.run_round, sampler=sampler(config.ppo), config=config), state)
    state = trace(partial(ppo.init, KEY, sampler(found.oracle), found.oracle))
    trace(partial(ppo.iterate, sampler=sampler(found.oracle), config=found.oracle), state)


def test_a_family_that_nothing_was_tuned_for_has_presets_too():
    assert preset("cartpole").ten.labels == 10
