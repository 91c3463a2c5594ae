"""What the rows on meta-learners compute of curves and returns, worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import combination
from benchmarks.combination import reach
from benchmarks.rows.combination import METHODS
from benchmarks.rows.update_rules import BEGIN, FACTOR, FINE, Runs
from metarlhf import envs
from metarlhf.experiments.evaluation import Curve
from metarlhf.experiments.references import References
from metarlhf.feedback import blank, empty, record_comparison

# Returns are shares of the oracle as they stand.
SCALE = References(np.zeros(2), np.ones(2))


def curve(labels, returns):
    steps = 100.0 * np.array(labels, float)
    return Curve(np.array(labels, float), steps, np.array(returns, float))


def rising(first, second):
    """Two tasks, after 0, 10 and 20 answers."""
    return curve([0, 10, 20], [[0.0, 0.0], [first, second], [1.0, 1.0]])


def test_what_is_needed_is_read_between_points_of_the_mean_over_seeds_and_tasks():
    found = reach([[rising(0.9, 0.9)]], "labels", SCALE)
    assert found == (10.0, False, 10.0, 10.0)
    # The mean after ten is 0.7, and 0.9 is two thirds of the way from there to 1.
    value, never, low, high = reach([[rising(0.8, 0.8), rising(0.6, 0.6)]], "labels", SCALE)
    assert value == pytest.approx(10 + 10 * 2 / 3)
    assert not never
    assert (low, high) == (pytest.approx(15.0), pytest.approx(17.5))
    assert reach([[rising(0.9, 0.9)]], "steps", SCALE)[0] == pytest.approx(1000.0)


def test_tasks_are_drawn_too():
    _, _, low, high = reach([[rising(1.0, 0.8)]], "labels", SCALE)
    assert (low, high) == (pytest.approx(9.0), pytest.approx(15.0))


def test_of_several_ways_the_one_that_needs_least_counts_and_never_is_said():
    slow = curve([0, 200, 400], [[0.0, 0.0], [0.1, 0.1], [0.95, 0.95]])
    assert reach([[slow], [rising(0.9, 0.9)]], "labels", SCALE)[0] == 10.0
    short = curve([0, 5], [[0.0, 0.0], [0.4, 0.4]])
    assert reach([[short]], "labels", SCALE) == (5.0, True, 5.0, 5.0)


def test_a_smaller_budget_has_the_first_answers_alone():
    family = envs.make("navigation")
    clip = blank(family, 1)[0]
    feedback = empty(clip, 4, 0)
    for number in range(4):
        one = jnp.ones(())
        feedback = record_comparison(feedback, jnp.array(number), clip, clip, one, one)
    found = combination.first(feedback, jnp.array(3))
    np.testing.assert_array_equal(found.comparisons.weight, [1.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("family", ["navigation", "reacher", "pendulum"])
def test_all_meta_learners_have_as_many_episodes(family):
    plan = combination.Plan((0,), 1, False)
    joint = plan.preset(family).joint
    for chosen in METHODS.values():
        policy = combination.config_of(family, chosen, plan).policy
        episodes = policy.iterations * policy.meta_batch * policy.episodes
        assert (
            episodes * (policy.inner_steps + 1) == joint.iterations * joint.tasks * joint.episodes
        )
        assert all(getattr(policy, name) == value for name, value in chosen.items())


class Guessed(Runs):
    """Each rule does best at a step size and a rate of its own, farther off after three steps."""

    def __init__(self, steps, best):
        super().__init__("navigation", steps, 2, (0, 1), False)
        self.best = best * (0.3 if steps == 3 else 1.0)

    def returns(self, rule, numbers, seed):
        off = sum(abs(np.log(number / self.best)) for number in numbers.values())
        return {"validation": -np.full((4, 1), off) - seed}


@pytest.mark.parametrize("best", [1.0, 0.1, 10.0])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("rule", ["SGD", "Meta-SGD"])
def test_a_rules_numbers_are_searched_for_until_the_best_is_not_at_an_end(rule, best, steps):
    run = Guessed(steps, best)
    begin = BEGIN[rule] | {"inner_lr": 1.0}
    found = run.searched(rule, begin)
    assert list(found) == list(begin)
    off = [abs(np.log(number / run.best)) for number in found.values()]
    assert max(off) <= np.log(FINE if rule == "SGD" else FACTOR) / 2
    assert run.judged(rule, found) == pytest.approx(-sum(off) - 0.5)  # the mean over both seeds
    assert len(run.tried[rule]) <= 12


def test_rules_are_meta_trained_for_as_many_steps_as_they_are_judged_after():
    runs = [Runs("navigation", k, 2, (0,), False) for k in (1, 3)]
    assert [run.config("SGD", {}).inner_steps for run in runs] == [1, 3]
    config = runs[0].config("Meta-SGD", {"step_size_lr": 0.2, "inner_lr": 0.7})
    assert (config.step_size_lr, config.inner_lr) == (0.2, 0.7)


def test_a_number_that_ends_in_none_is_never_the_best():
    run = Guessed(1, np.nan)
    assert run.judged("SGD", {"inner_lr": 1.0}) == -np.inf
    assert run.tried == {"SGD": {"inner_lr 1": None}}
