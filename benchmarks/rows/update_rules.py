"""What learned rules of the inner loop gain on the better of SGD and Adam, on held-out tasks.

The task's own reward. For each number of inner steps every rule is meta-trained for what comes
after just so many; what differs is the rule: SGD and Adam with the step size that does best on
validation tasks; Meta-SGD, a learned step size for each parameter; a learned network that bends
descent. The last two start from SGD's best step size, and are otherwise meta-trained as the others
are. No rule has offsets, which are another idea. Differences are paired by seed and task, in units
of return.
"""

import math

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
# Where the search for a step size begins; from there it goes on as long as it gets better.
BEGIN, FACTOR, MOST = {"SGD": 1.0, "Adam": 0.03}, 3.0, 4
RULES = {
    "SGD": {"learn_inner_lr": "none"},
    "Adam": {"inner_rule": "adam", "learn_inner_lr": "none"},
    "Meta-SGD": {"learn_inner_lr": "parameter"},
    "learned network": {"inner_rule": "learned", "learn_inner_lr": "none"},
}
LEARNED = ("Meta-SGD", "learned network")


def measure(options):
    """For each family, number of steps and learned rule the gain."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 3)))
    for family in FAMILIES:
        for steps in STEPS:
            run = Runs(family, steps, options.tasks or (3 if options.quick else 40), options.quick)
            sizes = {rule: run.step_sizes(rule) for rule in BEGIN}
            chosen = {rule: run.best_of(sizes[rule], rule) for rule in BEGIN}
            best = max(chosen, key=lambda rule: run.judged(rule, chosen[rule]))
            chosen |= dict.fromkeys(LEARNED, chosen["SGD"])
            found = {rule: run.tested(rule, chosen[rule], seeds) for rule in (best, *LEARNED)}
            for rule in LEARNED:
                gain = found[rule][:, steps] - found[best][:, steps]
                interval = mean_interval(gain, shared_tasks=True)
                yield Result.of(
                    ROW,
                    f"{family}, {rule}, after {steps} {'step' if steps == 1 else 'steps'}",
                    interval,
                    must=0.0,
                    seeds=seeds,
                    details={
                        "held_out_tasks": run.num_tasks,
                        "best_fixed_rule": best,
                        "step_sizes": chosen,
                        "validation_return_by_step_size": {
                            rule: run.by_step_size(rule, sizes[rule]) for rule in BEGIN
                        },
                        "returns": {name: each[:, steps].mean() for name, each in found.items()},
                        "by_seed": gain.mean(1).round(3),
                        "meta_training_steps": run.environment_steps,
                    },
                )


class Runs:
    """Meta-training on one family for so many inner steps with any rule, each run kept."""

    def __init__(self, family, steps, num_tasks, quick):
        self.family, self.num_tasks, self.quick = envs.make(family), num_tasks, quick
        self.name, self.steps, self.gamma = family, steps, preset(family).joint.ppo.gamma

    def config(self, rule, inner_lr):
        """The same for all rules, but for what `RULES` says."""
        return MetaRLConfig(
            inner_lr=inner_lr,
            inner_steps=self.steps,
            meta_batch=2 if self.quick else 10,
            episodes=2 if self.quick else 10,
            tasks_at_once=5,
            iterations=2 if self.quick else 40,
            hidden=(32, 32),
            gamma=self.gamma,
            step_size_lr=0.02,
            lr=2e-3,
            **RULES[rule],
        )

    @property
    def environment_steps(self):
        """Of one meta-training."""
        config = self.config("SGD", 1.0)
        episodes = config.iterations * config.meta_batch * config.episodes
        return episodes * (config.inner_steps + 1) * self.family.horizon

    def returns(self, rule, inner_lr, seed):
        """Mean return before and after each step on both splits, shape (steps + 1, tasks)."""
        config = self.config(rule, inner_lr)

        def make():
            jax.clear_caches()  # each run compiles anew, and memory maps are not without end
            state = outer.init(jax.random.key(seed), self.family, config)
            *_, (state, _) = outer.meta_train(state, self.family, config)
            key = jax.random.fold_in(jax.random.key(seed), 0xADA)
            found = {}
            for split in ("validation", "test"):
                tasks = held_out_tasks(self.family, self.num_tasks, split)
                found[split] = after_steps(key, self.family, tasks, state, config)
            means = found["validation"].mean(1).round(2)
            print(f"  {self.name}, {rule} {inner_lr:g}, seed {seed}: {means}", flush=True)
            return found

        return kept(path_of("rule", self.name, config, seed, self.num_tasks), make)

    def judged(self, rule, inner_lr):
        """Mean return on validation tasks after so many steps; of the first seed.

        Steps that are much too long end in numbers that are none.
        """
        found = float(self.returns(rule, inner_lr, 0)["validation"][self.steps].mean())
        return found if math.isfinite(found) else -math.inf

    def by_step_size(self, rule, sizes):
        """The same of all that were tried, for the results file; None where it was none."""
        found = {lr: self.judged(rule, lr) for lr in sizes}
        return {f"{lr:.3g}": each if math.isfinite(each) else None for lr, each in found.items()}

    def best_of(self, sizes, rule):
        """The step size that does best."""
        return max(sizes, key=lambda lr: self.judged(rule, lr))

    def step_sizes(self, rule):
        """All that were tried: until the best is not at either end."""
        if self.quick:
            return [BEGIN[rule]]
        sizes = [BEGIN[rule] / FACTOR, BEGIN[rule], BEGIN[rule] * FACTOR]
        for _ in range(MOST):
            best = self.best_of(sizes, rule)
            if best == sizes[0]:
                sizes.insert(0, sizes[0] / FACTOR)
            elif best == sizes[-1]:
                sizes.append(sizes[-1] * FACTOR)
            else:
                break
        return sizes

    def tested(self, rule, inner_lr, seeds):
        """Returns on test tasks, shape (seed, steps + 1, task)."""
        return np.stack([self.returns(rule, inner_lr, seed)["test"] for seed in seeds])
