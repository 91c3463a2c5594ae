"""What is learned from scratch where one answer in five is wrong, as `wrong-answers` has it.

By the schedule for few answers, in twenty rounds of as many updates: an ensemble that is held to
its prior and estimates how many answers are guesses (`reward.ROBUST`), beside the plain one. Eight
held-out tasks, each a run of its own.
"""

from dataclasses import replace

import jax

from benchmarks.few_shot import Plan
from benchmarks.kept import kept, path_of
from benchmarks.rows.wrong_answers import WRONG, compared
from metarlhf import envs
from metarlhf.feedback import Teacher
from metarlhf.meta.evaluate import teach_from_scratch
from metarlhf.meta.held_out import held_out_tasks
from metarlhf.reward import ROBUST, EnsembleConfig

ROW = "wrong-answers-from-scratch"
TASKS, ROUNDS = 8, 20
PLAIN = EnsembleConfig()


def measure(options):
    """Two figures for each family."""
    plan = Plan.of(options)
    tasks = options.tasks or (2 if plan.quick else TASKS)
    yield from compared(ROW, replace(plan, seeds=(0,), num_tasks=tasks), from_scratch)


def from_scratch(family, plan, seed, fit, wrong, count):
    """Each task's return at the end."""
    made, ensemble = envs.make(family), {"robust": ROBUST, "plain": PLAIN}[fit]
    few = plan.preset(family).few_labels
    rounds = min(ROUNDS, few.rounds)
    updates = few.rounds * few.updates // rounds
    teacher = WRONG if wrong else Teacher()
    config = replace(few, rounds=rounds, updates=updates, teacher=teacher)

    def teach():
        tasks = held_out_tasks(made, count)
        lesson = teach_from_scratch(jax.random.key(seed), made, tasks, config, ensemble)
        print(
            f"  {family}, {fit}, wrong {wrong}: {lesson.curve.returns[-1].mean():.2f}", flush=True
        )
        return lesson.curve._asdict()

    path = path_of("wrong-scratch", family, count, seed, config, ensemble)
    return kept(path, teach)
