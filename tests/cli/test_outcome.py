"""What is said of a leash, and of what must never be, at the end of a run."""

import jax

from metarlhf import envs, rlhf
from metarlhf.cli.outcome import held_words, holding, parted_words
from metarlhf.experiments.standing import standing, true_return
from metarlhf.rlhf import NeverConfig, RLHFConfig, WatchConfig
from metarlhf.sampling import CompiledSampler

CONFIG = RLHFConfig(never=NeverConfig(clips=200, limit=0.01), leash=0.1, updates=1)
MARKED = {"never_clips": 200, "never_marked": 31}


def test_the_share_that_is_forbidden_is_said_against_the_limit():
    found = MARKED | {"never_share": 0.004, "never_multiplier": 12.34}
    (line,) = held_words(found, CONFIG)
    assert "200 clips were looked over, and 31 of them marked" in line
    assert "0.40% of the last update's steps are forbidden, within the limit of 1.00%" in line
    assert "charged 12.3 times a standard deviation of a step's reward (the multiplier)" in line
    (line,) = held_words(found | {"never_share": 0.02}, CONFIG)
    assert "2.00% of the last update's steps are forbidden, above the limit" in line


def test_without_a_mark_or_an_update_it_says_that_nothing_was_held():
    (line,) = held_words({"never_clips": 200, "never_marked": 0, "never_share": 0.0}, CONFIG)
    assert "0 of them marked. Warning: without a mark" in line
    (line,) = held_words(MARKED, CONFIG)
    assert "No update was made, so nothing was held" in line


def test_a_leash_says_how_far_the_policy_strayed_and_what_that_costs():
    (line,) = held_words({"leash_kl": 0.1234, "leash_coefficient": 2.5}, CONFIG)
    assert "0.123 nats a step from its reference (KL), where 0.1 was asked for" in line
    assert "a nat costs 2.5 standard deviations" in line
    assert held_words({"return": 1.0}, CONFIG) == []


def test_the_result_tells_what_the_last_update_came_to():
    rows = [{"leash_kl": 0.5, "return": 0.0}, {"leash_kl": 0.2, "never_clips": 3, "return": 1.0}]
    assert holding(rows) == {"leash_kl": 0.2, "never_clips": 3}


def test_what_was_seen_is_told_where_it_is_not_what_the_task_pays():
    """An agent that runs through the goal ends its episode well, and is seen to run on."""
    check = {"steps": 9, "return": -0.87, "return_as_shown": -74.64, "liked": 0.0, "foreseen": 1.0}
    kept = check | {"return": -67.09, "return_as_shown": -67.09, "liked": 1.0}
    told = {"checks": [check, kept], "check_answers": 1, "halted": False}
    watched, seen = parted_words(told)
    assert watched.startswith("With 1 answer more practice was watched")
    assert "one of -0.87 looked like one of -74.64" in seen
    assert seen.endswith("the agent that is kept looks like one of -67.09.")
    assert len(parted_words(told | {"checks": [kept]})) == 1


def test_where_a_lesson_stands_is_told_as_it_is_paid_and_as_it_is_shown():
    family = envs.make("navigation")
    task = family.sample(jax.random.key(1))
    config = RLHFConfig(labels=2, rounds=1, final_updates=2, watch=WatchConfig(every=1))
    sampler = CompiledSampler(family, task, config.ppo.num_envs)
    state = rlhf.from_scratch(jax.random.key(0), sampler, config)
    told = standing(state, sampler, config)
    shown = true_return(state.key, family.without_termination(), task, state.ppo.agent)
    assert told["return_as_shown"] == shown
    assert told["return"] == true_return(state.key, family, task, state.ppo.agent)
    assert "return_as_shown" not in standing(state, sampler.without_termination(), config)


def test_of_many_checks_the_first_and_the_last_are_told():
    checks = [{"liked": i / 100, "foreseen": 0.5, "return": 0.0} for i in range(10, 25)]
    line = parted_words({"checks": checks, "check_answers": 30, "halted": False})[0]
    assert "in 10%, 11%, 12%, ..., 22%, 23%, 24% of episodes" in line
