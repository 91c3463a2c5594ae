"""What learned rules of the inner loop gain on the better of SGD and Adam, on held-out tasks.

The task's own reward. For each number of inner steps every rule is meta-trained for what comes
after just so many; what differs is the rule: SGD; Adam; Meta-SGD, a learned step size for each
parameter; a learned network that bends descent. Each has one number that is searched for alike, by
what it brings on validation tasks: SGD and Adam their step size, the learned ones how fast they are
learned, beginning as descent with SGD's best step size. All else is the same. No rule has offsets,
which are another idea. Differences are paired by seed and task, in units of return.
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
from metarlhf.meta.evaluate import held_out_tasks
from metarlhf.meta.presets import preset
from metarlhf.statistics import mean_interval

ROW = "update-rules"
STEPS = (1, 3)
# Where the search for a rule's number begins; from there it goes on as long as it gets better.
BEGIN = {"SGD": 1.0, "Adam": 0.03, "Meta-SGD": 0.1, "learned network": 0.01}
FACTOR, MOST = 3.0, 4
SEARCHED = {"SGD": "inner_lr", "Adam": "inner_lr", "Meta-SGD": "step_size_lr",
            "learned network": "network_lr"}  # fmt: skip
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
            count = options.tasks or (3 if options.quick else 40)
            yield from _gains(Runs(family, steps, count, seeds, options.quick))


def _gains(run):
    """On the better of the fixed rules, by what that brings on validation tasks."""
    tried = {rule: run.searched(rule) for rule in FIXED}
    chosen = {rule: run.best_of(rule, tried[rule]) for rule in FIXED}
    best = max(chosen, key=lambda rule: run.judged(rule, chosen[rule]))
    run.begins_with = chosen["SGD"]
    tried |= {rule: run.searched(rule) for rule in LEARNED}
    chosen |= {rule: run.best_of(rule, tried[rule]) for rule in LEARNED}
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
                "searched": SEARCHED,
                "chosen": chosen,
                "validation_return": {rule: run.told(rule, tried[rule]) for rule in tried},
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
        self.begins_with = BEGIN["SGD"]  # step size of the rules that are learned

    def config(self, rule, number):
        """The same for all rules, but for what `RULES` says, and their number."""
        config = MetaRLConfig(
            inner_lr=self.begins_with,
            inner_steps=self.steps,
            meta_batch=2 if self.quick else 10,
            episodes=2 if self.quick else 10,
            iterations=2 if self.quick else 40,
            hidden=(32, 32),
            gamma=self.gamma,
            step_size_lr=0.02,
            lr=2e-3,
            **RULES[rule],
        )
        return replace(config, **{SEARCHED[rule]: number})

    @property
    def environment_steps(self):
        """Of one meta-training."""
        config = self.config("SGD", 1.0)
        episodes = config.iterations * config.meta_batch * config.episodes
        return episodes * (config.inner_steps + 1) * self.family.horizon

    def returns(self, rule, number, seed):
        """Mean return before and after each step on both splits, shape (steps + 1, tasks)."""
        config = self.config(rule, number)

        def make():
            state = outer.init(jax.random.key(seed), self.family, config)
            *_, (state, _) = outer.meta_train(state, self.family, config)
            key = jax.random.fold_in(jax.random.key(seed), 0xADA)
            found = {}
            for split in ("validation", "test"):
                tasks = held_out_tasks(self.family, self.num_tasks, split)
                found[split] = after_steps(key, self.family, tasks, state, config)
            means = found["validation"].mean(1).round(2)
            print(f"  {self.name}, {rule} {number:g}, seed {seed}: {means}", flush=True)
            if seed == self.seeds[-1]:
                jax.clear_caches()  # each number compiles anew, and memory maps have an end
            return found

        return kept(path_of("rule", self.name, config, seed, self.num_tasks), make)

    def judged(self, rule, number):
        """Mean return on validation tasks after so many steps, over all seeds.

        Steps that are much too long end in numbers that are none.
        """
        each = (self.returns(rule, number, seed)["validation"] for seed in self.seeds)
        found = float(np.mean([returns[self.steps] for returns in each]))
        return found if math.isfinite(found) else -math.inf

    def told(self, rule, numbers):
        """The same of all that were tried, for the results file; None where it was none."""
        found = {number: self.judged(rule, number) for number in numbers}
        return {f"{n:.3g}": each if math.isfinite(each) else None for n, each in found.items()}

    def best_of(self, rule, numbers):
        """The number that does best."""
        return max(numbers, key=lambda number: self.judged(rule, number))

    def searched(self, rule):
        """All that were tried: until the best is not at either end."""
        begin = BEGIN[rule]
        if self.quick:
            return [begin]
        numbers = [begin / FACTOR, begin, begin * FACTOR]
        for _ in range(MOST):
            best = self.best_of(rule, numbers)
            if best == numbers[0]:
                numbers.insert(0, numbers[0] / FACTOR)
            elif best == numbers[-1]:
                numbers.append(numbers[-1] * FACTOR)
            else:
                break
        return numbers

    def tested(self, rule, number):
        """Returns on test tasks, shape (seed, steps + 1, task)."""
        return np.stack([self.returns(rule, number, seed)["test"] for seed in self.seeds])
