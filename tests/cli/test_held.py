"""What is said of a leash, and of what must never be, at the end of a run."""

from metarlhf.cli.held import held_words, holding
from metarlhf.rlhf import NeverConfig, RLHFConfig

CONFIG = RLHFConfig(never=NeverConfig(clips=200, limit=0.01), leash=0.1, updates=1)
MARKED = {"never_clips": 200, "never_marked": 31}


def test_the_share_that_is_forbidden_is_said_against_the_limit():
    found = MARKED | {"never_share": 0.004, "never_multiplier": 12.34}
    (line,) = held_words(found, CONFIG)
    assert "200 clips were looked over, and 31 of them marked" in line
    assert "0.40% of the last update's steps are forbidden, within the limit of 1.00%" in line
    assert "the multiplier is 12.3" in line
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
