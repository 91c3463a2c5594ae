"""What learned rules of the inner loop gain on the better of SGD and Adam, on held-out tasks.

The task's own reward. For each number of inner steps every rule is meta-trained for what comes
after just so many; what differs is the rule: SGD; Adam; Meta-SGD, a learned step size for each
parameter; a learned network that bends descent. Each has one or two numbers that are searched for,
by what they bring on validation tasks over all seeds: SGD and Adam their step size, at first in
threes and then in roots of three; the learned ones how fast they are learned, and then the step
size that they begin with, both in threes, which is about as many tries. All else is the same. No
rule has offsets, which are another idea. Differences are paired by seed and task, in units of
return.
"""

import math
from dataclasses import replace

import jax
import numpy as np

from benchmarks.few_shot import FAMILIES
from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from benchmarks.rows.finn2017 import after_steps
from metarlhf import envs
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.presets import preset
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.sampling import CompiledTaskSampler
from metarlhf.statistics import mean_interval

ROW = "update-rules"
STEPS = (1, 3)
# Where the search for a rule's numbers begins, one after the other; learned rules begin with the
# step size that is SGD's best.
BEGIN = {
    "SGD": {"inner_lr": 1.0},
    "Adam": {"inner_lr": 0.03},
    "Meta-SGD": {"step_size_lr": 0.1, "inner_lr": None},
    "learned network": {"network_lr": 0.01, "inner_lr": None},
}
# What a number is multiplied by as long as that makes it better, so many times at most beyond the
# first two; and at last around the best of a rule that has no other number.
FACTOR, MOST, FINE = 3.0, 4, 3.0**0.5
RULES = {
    "SGD": {"learn_inner_lr": "none"},
    "Adam": {"inner_rule": "adam", "learn_inner_lr": "none"},
    "Meta-SGD": {"learn_inner_lr": "parameter"},
    "learned network": {"inner_rule": "learned", "learn_inner_lr": "none"},
}
FIXED, LEARNED = ("SGD", "Adam"), ("Meta-SGD", "learned network")


def measure(options):
    """For each family, number of steps and learned rule the gain."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 3)))
    for family in FAMILIES:
        for steps in STEPS:
            count = options.tasks or (3 if options.quick else 100)
            yield from _gains(Runs(family, steps, count, seeds, options.quick))


def _gains(run):
    """On the better of the fixed rules, by what that brings on validation tasks."""
    chosen = {rule: run.searched(rule, BEGIN[rule]) for rule in FIXED}
    best = max(chosen, key=lambda rule: run.judged(rule, chosen[rule]))
    chosen |= {rule: run.searched(rule, BEGIN[rule] | chosen["SGD"]) for rule in LEARNED}
    found = {rule: run.tested(rule, chosen[rule]) for rule in (best, *LEARNED)}
    for rule in LEARNED:
        gain = found[rule][:, run.steps] - found[best][:, run.steps]
        yield Result.of(
            ROW,
            f"{run.name}, {rule}, after {run.steps} {'step' if run.steps == 1 else 'steps'}",
            mean_interval(gain, shared_tasks=True),
            must=0.0,
            seeds=run.seeds,
            details={
                "held_out_tasks": run.num_tasks,
                "best_fixed_rule": best,
                "chosen": chosen,
                "validation_return": run.tried,
                "returns": {name: each[:, run.steps].mean() for name, each in found.items()},
                "by_seed": gain.mean(1).round(3),
                "meta_training_steps": run.environment_steps,
            },
        )


class Runs:
    """Meta-training on one family for so many inner steps with any rule, each run kept."""

    def __init__(self, family, steps, num_tasks, seeds, quick):
        self.family, self.num_tasks, self.quick = envs.make(family), num_tasks, quick
        self.name, self.steps, self.seeds = family, steps, seeds
        self.gamma = preset(family).joint.ppo.gamma
        self.tried = {}  # by rule, of all numbers that were

    def config(self, rule, numbers):
        """The same for all rules, but for what `RULES` says, and their numbers."""
        config = MetaRLConfig(
            inner_steps=self.steps,
            meta_batch=2 if self.quick else 10,
            episodes=2 if self.quick else 10,
            iterations=2 if self.quick else 40,
            hidden=(32, 32),
            gamma=self.gamma,
            lr=2e-3,
            **RULES[rule],
        )
        return replace(config, **numbers)

    @property
    def environment_steps(self):
        """Of one meta-training."""
        config = self.config("SGD", {})
        return config.iterations * config.episodes_of_iteration * self.family.horizon

    def returns(self, rule, numbers, seed):
        """Mean return before and after each step on both splits, shape (steps + 1, tasks)."""
        config = self.config(rule, numbers)

        def make():
            state = outer.init(jax.random.key(seed), self.family, config)
            *_, (state, _) = outer.meta_train(state, CompiledTaskSampler(self.family), config)
            key = jax.random.fold_in(jax.random.key(seed), 0xADA)
            found = {}
            for split in ("validation", "test"):
                tasks = held_out_tasks(self.family, self.num_tasks, split)
                found[split] = after_steps(key, self.family, tasks, state, config)
            means = found["validation"].mean(1).round(2)
            print(f"  {self.name}, {rule} {_words(numbers)}, seed {seed}: {means}", flush=True)
            if seed == self.seeds[-1]:
                jax.clear_caches()  # other numbers compile anew, and memory maps have an end
            return found

        path = path_of("rule", self.name, config, seed, self.num_tasks, made_by=[Runs])
        return kept(path, make)

    def judged(self, rule, numbers):
        """Mean return on validation tasks after so many steps, over all seeds.

        Steps that are much too long end in numbers that are none.
        """
        each = (self.returns(rule, numbers, seed)["validation"] for seed in self.seeds)
        found = float(np.mean([returns[self.steps] for returns in each]))
        is_one = math.isfinite(found)
        self.tried.setdefault(rule, {})[_words(numbers)] = found if is_one else None
        return found if is_one else -math.inf

    def searched(self, rule, numbers):
        """The best numbers that were found, each searched for with those before it."""
        if self.quick:
            return numbers
        for name in numbers:
            numbers = self._along(rule, numbers, name)
        if len(numbers) == 1:
            (name, number), *_ = numbers.items()
            numbers = self._best(rule, [{name: number * x} for x in (1 / FINE, 1.0, FINE)])
        return numbers

    def _along(self, rule, numbers, name):
        """The best of one number, tried until that is not at either end."""
        tries = [numbers | {name: numbers[name] * x} for x in (1 / FACTOR, 1.0, FACTOR)]
        for _ in range(MOST):
            best = self._best(rule, tries)
            if best == tries[0]:
                tries.insert(0, best | {name: best[name] / FACTOR})
            elif best == tries[-1]:
                tries.append(best | {name: best[name] * FACTOR})
            else:
                break
        return self._best(rule, tries)

    def _best(self, rule, tries):
        return max(tries, key=lambda numbers: self.judged(rule, numbers))

    def tested(self, rule, numbers):
        """Returns on test tasks, shape (seed, steps + 1, task)."""
        return np.stack([self.returns(rule, numbers, seed)["test"] for seed in self.seeds])


def _words(numbers):
    return ", ".join(f"{name} {number:.3g}" for name, number in numbers.items())
