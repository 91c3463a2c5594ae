"""Sentences say what the numbers say, in the bad cases too."""

import pytest

from metarlhf.report import Mark, Question, wording
from tests.report.made_up import family_result, results


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


def reached(mean, **changes):
    return family_result(normalised_return={"mean": mean, "low": mean, "high": mean}, **changes)


@pytest.mark.parametrize(
    ("families", "sentence"),
    [
        ([reached(0.93)], "Ten answers were enough for 93 % of what the true reward teaches"),
        (
            [reached(0.93), reached(0.78)],
            "Ten answers were enough for 78 to 93 % of what the true reward teaches",
        ),
        ([reached(0.6)], "Ten answers reached 60 % of what the true reward teaches"),
        (
            [reached(0.93), reached(-0.1)],
            "Ten answers reached −10 to 93 % of what the true reward teaches",
        ),
        (
            [reached(0.9, labels=1)],
            "One answer was enough for 90 % of what the true reward teaches",
        ),
        (
            [reached(0.9, labels=5), reached(0.901, labels=20)],
            "Five to 20 answers were enough for 90 % of what the true reward teaches",
        ),
        (
            [reached(0.89, gain={"mean": 0.01, "low": -0.02, "high": 0.04})],
            "Ten answers added no more than chance may to what meta-training alone brought: 89 %",
        ),
        (
            [reached(0.89, oracle_hardly_learns=True, untrained_spread=99.0)],
            "PPO with the true reward hardly learns here: there is little to compare with",
        ),
        (
            [reached(-0.2)],
            "Ten answers taught nothing: the agents do no better than untrained ones",
        ),
    ],
)
def test_headline(families, sentence):
    assert plain(wording.headline(results(*families))) == sentence


@pytest.mark.parametrize(
    ("value", "at_least", "text"),
    [
        (20.0, True, "at least 20×"),
        (8.27, False, "8.3×"),
        (1234.0, False, "1 200×"),
        (0.5, False, "0.5×"),
        (None, True, "not measured"),
    ],
)
def test_ratio(value, at_least, text):
    assert plain(wording.ratio(value, at_least)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.0342, "34 ms"),
        (0.9996, "1.0 s"),
        (3.14, "3.1 s"),
        (9.99, "10.0 s"),
        (59.7, "1 min 0 s"),
        (143, "2 min 23 s"),
        (12, "12 s"),
    ],
)
def test_duration(seconds, text):
    assert wording.duration(seconds) == text


def test_percent_has_no_negative_zero():
    assert plain(wording.percent(-0.001)) == "0 %"
    assert plain(wording.percent(-0.12)) == "−12 %"


def test_nothing_adapts_where_the_gain_may_be_chance():
    gain = lambda low: family_result(gain={"mean": 0.03, "low": low, "high": 0.07})
    said = plain(wording.nothing_adapts(gain(-0.001)))
    assert said.startswith("Nothing adapts: that is +3 % on what")
    assert "(0 % to +7 %)" in said
    assert not wording.nothing_adapts(gain(0.01))
    assert not wording.nothing_adapts(family_result())


def test_a_poor_upper_end_of_the_scale_is_said():
    family = lambda **more: family_result(oracle_hardly_learns=True, untrained_spread=250.0, **more)
    said = plain(wording.hardly_learns(family(untrained_return=-1144.0, oracle_return=-947.0)))
    assert said.startswith("The oracle hardly learns here, so shares of it say little")
    assert "less than the 250 " in said
    assert "−1 140 before, −947 after" in said
    some = wording.hardly_learns(family_result(oracle_gains_nothing_in=2, num_tasks=40))
    assert some.startswith("In 2 of 40 tasks PPO with the true reward gains nothing")
    assert not wording.hardly_learns(family_result(oracle_hardly_learns=False))


def test_savings_of_several_families_are_no_better_than_the_worst():
    one = family_result(scratch_labels_ratio=8.0, scratch_labels_at_least=False)
    two = family_result(scratch_labels_ratio=20.0, scratch_labels_at_least=True)
    assert "at least 8 to 20 times as many answers" in wording.savings([one, two])
    exact = wording.savings([one])
    assert "took 8 times as many answers" in exact
    unmeasured = family_result(scratch_labels_ratio=None, scratch_steps_ratio=None)
    assert wording.savings([one, unmeasured]).endswith("steps, where it was measured.")


def test_standing_names_the_worst_and_the_best():
    family = family_result(per_task=[0.9, 0.2, 1.1, 0.8])
    assert plain(wording.standing(family, 1)) == "the worst of 4: 20 %"
    assert plain(wording.standing(family, 2)) == "the best of 4: 110 %"
    assert plain(wording.standing(family, 0)) == "the middle one of 4: 90 %"
    assert plain(wording.standing(family, 3)) == "number 3 of 4: 80 %"
    assert wording.standing(family, None) == "a held-out task"


def test_answers():
    said = [wording.answer(Question(None, None, p)) for p in (0.0, 1.0, 0.5)]
    assert said == ["left", "right", "equal"]
    assert wording.answer(Mark(None, 7.0)) == "marked 7"
