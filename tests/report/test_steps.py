"""The page about gradient steps on what tasks pay holds what was measured, in the bad cases too."""

import pytest

from metarlhf.report import steps
from tests.report.made_up import pictures
from tests.report.test_report import Page


def intervals(means, width=1.0):
    return [{"mean": m, "low": m - width, "high": m + width} for m in means]


def start(returns, shares, step_size, meta_learned):
    shares = intervals(shares, 0.05)
    return {
        "returns": intervals(returns), "shares": shares, "step_sizes": [step_size],
        "behind": intervals([m - r for m, r in zip(meta_learned, returns, strict=True)], 3.0),
    }  # fmt: skip


def found(shares=(0.01, 0.4, 0.7), width=0.05, **changes):
    returns = [-45 + 44 * share for share in shares]
    return {
        "command": "evaluate", "seed": 0, "total_seconds": 83.0, "versions": {"jax": "0.10.0"},
        "family": "navigation/finn2017", "varies": "goal position (2 numbers)", "num_tasks": 40,
        "num_priors": 1,
        "episodes_of_a_step": 20, "environment_steps_of_a_step": 2000,
        "returns": intervals(returns, 44 * width), "shares": intervals(shares, width),
        "starts": {
            "random": start([-45.0, -43.0, -53.0], [0.0, 0.08, -0.2], 4.0, returns),
            "pretrained": start([-38.0, -36.0, -35.0], [0.16, 0.2, 0.23], 0.5, returns),
        },
        "meta_training_steps": 9_600_000,
        "gains": intervals([r - returns[0] for r in returns[1:]], 44 * width),
        "untrained_return": -45.0, "untrained_spread": 12.0, "oracle_return": -0.69,
        "oracle_hardly_learns": False, "oracle_steps": 400_000, "seconds": 0.0203,
        "per_task": [0.7 + 0.001 * i for i in range(40)],
    } | changes  # fmt: skip


def words(result):
    return Page(steps.render(result, pictures(questions=0))).words()


def test_it_holds_every_step_beside_a_random_start_and_the_oracle():
    page = words(found())
    for figure in (
        "Two gradient steps on a task's own reward reach 70 % of what PPO does in 400 000 steps.",
        "0 −44.6 (−46.8 to −42.4) 1 % (−4 to 6 %) −45 (−46 to −44) 0 % (−5 to 5 %) "
        "−38 (−39 to −37) 16 % (11 to 21 %)",
        "2 −14.2 (−16.4 to −12) 70 % (65 to 75 %) −53 (−54 to −52) −20 % (−25 to −15 %) "
        "−35 (−36 to −34) 23 % (18 to 28 %)",
        "PPO, its whole budget −0.69 100 %",
        "untrained −45 0 %",
        "each from 20 fresh episodes (2 000 environment steps)",
        "One task takes 20 ms.",
        "the goal, which no agent is told",
        "in as many environment steps as meta-training had: 9 600 000.",
        "with the same reward in 400 000 environment steps",
    ):
        assert figure in page.replace("\N{NO-BREAK SPACE}", " ")
    for about_answers in ("answer", "from scratch", "not measured", "label"):
        assert about_answers not in page


@pytest.mark.parametrize(
    ("shares", "width", "said", "unsaid"),
    [
        ((0.0, 0.02, 0.03), 0.05, "Nothing adapts", "does harm"),
        ((0.0, 0.7, 0.1), 0.05, "more after one gradient step, 70", "Nothing adapts"),
        ((0.0, 0.7, 0.02), 0.05, "no more than before the first", "Nothing adapts"),
        ((0.0, 0.4, 0.7), 0.05, "reach 70", "harm"),
        ((0.9, 0.5, 0.3), 0.05, "Two gradient steps do harm: they lose 26.4 of", "Nothing adapts"),
        ((0.9, 0.5, 0.3), 0.05, "It was more before the first, 90", "Nothing adapts"),
    ],
)
def test_what_goes_wrong_is_said_on_the_page_and_at_the_terminal(shares, width, said, unsaid):
    result = found(shares, width)
    for text in (words(result), "\n".join(steps.lines(result))):
        text = text.replace("\N{NO-BREAK SPACE}", " ")
        assert said in text
        assert unsaid not in text


def test_a_start_that_does_as_well_is_said():
    assert "meta-training gains" not in words(found())
    for text in (
        words(found(shares=(0.0, 0.1, 0.2))),
        "\n".join(steps.lines(found((0, 0.1, 0.2)))),
    ):
        text = text.replace("\N{NO-BREAK SPACE}", " ")
        assert (
            "A pretrained start reaches 23 % by as many steps: meta-training gains no more than "
            "chance may on that."
        ) in text
        assert "A random start reaches" not in text
    ahead = words(found((0.0, 0.01, 0.02)))
    assert "higher: meta-training gains nothing on that" in ahead


def test_without_pretraining_nothing_is_said_of_it():
    alone = found()
    alone["starts"] = {"random": alone["starts"]["random"]}
    page = words(alone)
    assert "A random start takes as many steps" in page
    assert "retrained" not in page.replace("true reward", "")
    assert "pretrained" not in "\n".join(steps.lines(alone))


def test_a_poor_oracle_is_said():
    poor = found(oracle_hardly_learns=True, oracle_return=-40.0)
    assert steps.headline(poor).startswith("PPO with the true reward hardly learns here")
    assert "The oracle hardly learns here" in words(poor)
    assert "hardly learns" in "\n".join(steps.lines(poor))
    assert "hardly learns" not in words(found())


def test_a_terminal_has_a_line_for_each_step():
    told = "\n".join(steps.lines(found())).replace("\N{NO-BREAK SPACE}", " ")
    assert "before any step: −44.6 (−46.8 to −42.4), 1 %; from a random start −45" in told
    assert "from a pretrained start −38 (−39 to −37), 16 %" in told
    assert "after two gradient steps: −14.2 (−16.4 to −12), 70 %" in told
    assert "20 ms a task" in told
