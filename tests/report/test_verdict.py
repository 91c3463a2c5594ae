"""The verdict on a learned reward: what is said follows from what was found."""

import numpy as np
import pytest

from metarlhf import envs
from metarlhf.explain import (
    Calibration,
    Dependence,
    Distance,
    Explanation,
    Feature,
    Importance,
)
from metarlhf.report.explanation_text import accuracy, dependence_note, verdict
from metarlhf.report.html import legend
from metarlhf.reward.calibration import Reliability

DIAGRAM = Reliability(np.array([0.6, 0.9]), np.array([0.5, 0.9]), np.array([20.0, 60.0]))


def found_to_be(distances, calibration=None, **importance):
    """What of an explanation a verdict is about."""
    blank = Explanation(**dict.fromkeys(Explanation._fields))
    return blank._replace(distances=distances, calibration=calibration, importance=importance)


def to_true(epic, before=0.7, dard=None):
    return [
        Distance("after", "before", 0.1, 0.1),
        Distance("after", "true", epic, epic if dard is None else dard),
        Distance("before", "true", before, before),
    ]


@pytest.mark.parametrize(
    ("epic", "words"),
    [
        (0.0, "agree."), (0.2, "largely agree."), (0.5, "agree only in part."),
        (0.71, "have next to nothing to do with one another."), (0.9, "part: what is liked by"),
        (1.0, "part: what is liked by"),
    ],
)  # fmt: skip
def test_learned_and_true_reward_agree_or_part(epic, words):
    found = verdict(found_to_be(to_true(epic, before=0.66)))
    assert found.sentences[0].startswith(f"Learned and true reward {words}")
    assert f"EPIC distance is {epic:.2f}, their DARD distance {epic:.2f} (0 is the" in found.text
    assert "before the answers they were 0.66 and 0.66" in found.text
    assert "They differ" not in found.text
    assert (found.epic, found.epic_before, found.right) == (epic, 0.66, None)


@pytest.mark.parametrize(
    ("epic", "dard", "words", "means"),
    [
        (0.16, 0.78, "over all steps (EPIC) largely agree; among those open at one moment (DARD) "
         "they have next to nothing to do", "good situations from bad ones better"),
        (0.6, 0.1, "over all steps (EPIC) have next to nothing to do with one another; among those "
         "open at one moment (DARD) they agree.", "may lead an agent to the wrong place"),
        (0.14, 0.2, "largely agree.", ""),  # as good as the same: the further one counts
        (0.2, 0.14, "largely agree.", ""),
        (0.36, 0.5, "agree only in part.", "good situations from bad ones better"),
    ],
)  # fmt: skip
def test_both_distances_count_and_what_it_means_where_they_differ(epic, dard, words, means):
    found = verdict(found_to_be(to_true(epic, dard=dard)))
    assert found.sentences[0].startswith(f"Learned and true reward {words}")
    assert means in found.sentences[1]
    assert ("They differ" in found.text) == bool(means)
    assert (found.dard, found.dard_before) == (dard, 0.7)


def test_with_a_true_reward_that_is_the_same_everywhere_nothing_can_agree():
    nothing, some = Importance(np.zeros(2), np.zeros(2)), Importance(np.ones(2) / 2, np.ones(2))
    flat = to_true(0.7071, before=0.7072)
    (told,) = verdict(found_to_be(flat, true=nothing)).sentences
    assert told.startswith("The true reward is the same in every step")
    assert verdict(found_to_be(flat, true=some)).agreement is not None
    # Of a step's features nothing, but of what follows: a reward for moving on.
    assert verdict(found_to_be(to_true(0.2), true=nothing)).agreement == "largely agree"


def test_where_nobody_knows_the_true_reward_it_is_how_often_the_model_is_right():
    given = Calibration("answers left out", 80, {"after": DIAGRAM})
    found = verdict(found_to_be([Distance("after", "before", 0.1, 0.1)], given))
    assert (found.agreement, found.epic) == (None, None)
    assert (found.right, found.believed) == pytest.approx((0.8, 0.825))
    assert found.sentences[1:] == (accuracy(given),)
    assert found.sentences[0] == "What was wanted is known from answers alone."
    assert "right in 80\N{NO-BREAK SPACE}% of the 80 answers, each of which" in found.text
    assert "believed it was in 82\N{NO-BREAK SPACE}%" in found.text
    fresh = accuracy(Calibration("fresh questions", 1000, {"after": DIAGRAM}))
    assert "answered by the true reward" in fresh
    assert verdict(found_to_be([])).text == ""


@pytest.mark.parametrize(
    ("questions", "sure", "says"),
    [(1000, 0.9, "too sure"), (1000, 0.83, ""), (1000, 0.7, "surer"), (30, 0.9, ""), (9, 1.0, "")],
)
def test_who_is_as_often_right_as_may_be_by_chance_is_not_called_too_sure(questions, sure, says):
    diagram = Reliability(np.array([sure]), np.array([0.8]), np.array([float(questions)]))
    told = accuracy(Calibration("answers left out", questions, {"after": diagram}))
    assert told.endswith("%.") == (not says)
    assert says in told


@pytest.mark.parametrize("name", ["navigation", "navigation/pearl2019", "reacher", "pendulum"])
def test_what_shows_the_task_is_left_out_where_nobody_knows_it(name):
    found = legend(envs.make_family(name))
    assert {sign.colour for sign in found if sign.of_task} == {"second"}
    assert any("\N{BLACK STAR}" in sign.sign for sign in found if sign.of_task)
    assert {sign.colour for sign in found if not sign.of_task} == {"first", "ink"}


def test_every_family_has_signs():
    found = legend(envs.make_family("navigation/hazard"))
    assert "where nobody may be" in [sign.means for sign in found if sign.of_task]
    (pole, cart) = legend(envs.make_family("cartpole"))
    assert "pole" in pole.means
    assert "cart" in cart.means


def test_lines_of_observations_have_a_sign_each():
    found = legend(envs.make_family("gymnax:Pendulum-v1?g=uniform(5,15)"))
    assert [sign.means for sign in found] == ["cos theta", "sin theta", "theta dot"]
    assert len({(sign.sign, sign.colour) for sign in found}) == 3


def test_far_from_the_true_reward_in_either_way_neither_is_called_the_better():
    told = verdict(found_to_be(to_true(0.63, dard=0.75))).text
    assert "They differ" in told
    assert "better" not in told


def test_it_is_said_what_is_paid_for_in_vain():
    names = [Feature(name, "", (i,)) for i, name in enumerate("abc")]
    given = Importance(np.array([0.5, 0.4, 0.1]), np.zeros(3))
    wanted = Importance(np.array([0.99, 0.01, 0.0]), np.zeros(3))
    found = found_to_be(to_true(0.3), after=given, true=wanted)._replace(features=names)
    assert "It pays for b (40" in verdict(found).text
    assert "for which the true reward pays next to nothing." in verdict(found).text
    same = found_to_be(to_true(0.3), after=given, true=given)._replace(features=names)
    assert "It pays for" not in verdict(same).text


def test_what_follows_from_what_is_said_in_one_sentence():
    one, two, three = (Feature(name, "", (i,)) for i, name in enumerate("abc"))
    blank = Explanation(**dict.fromkeys(Explanation._fields))
    dependent = [Dependence(one, (two,), 1.0), Dependence(three, (one, two), 1.0)]
    said = dependence_note(blank._replace(dependent=dependent))
    assert said.startswith("In all that was seen, a follows from b, and c from a and b: what")
    assert "in any way" in dependence_note(blank._replace(dependent=[]))


def test_it_is_said_where_answers_led_away_from_the_true_reward():
    found = verdict(found_to_be(to_true(0.3, before=0.2, dard=0.2)))
    assert "By EPIC the answers led it away from the true reward, not towards it." in found.text
    assert "By EPIC and DARD" in verdict(found_to_be(to_true(0.3, before=0.2))).text
    assert "led it away" not in verdict(found_to_be(to_true(0.24, before=0.2))).text


def test_a_model_that_foresees_answers_may_be_far_from_the_true_reward_and_why_is_said():
    given = Calibration("fresh questions", 80, {"after": DIAGRAM})
    assert "no contradiction" in verdict(found_to_be(to_true(0.71), given)).text
    assert "no contradiction" not in verdict(found_to_be(to_true(0.2), given)).text
