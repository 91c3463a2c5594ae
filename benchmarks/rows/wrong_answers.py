"""What is learned where one answer in five is wrong, as a share of what errorless answers teach.

From a prior with twenty comparisons and with sixty: the posterior as it is, which estimates how
many answers are guesses, beside one that takes every answer at its word. Each is divided by the
normalised return that as many errorless answers lead the posterior as it is to. Sixteen held-out
tasks. In the details what fewer answers teach, of which none is wrong: an answer that is wrong once
in five times tells 0.28 bits.
"""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, prior_of, references_of
from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from benchmarks.rows.teachers import share
from metarlhf import envs
from metarlhf.experiments.evaluation import adapt_from_prior
from metarlhf.feedback import Teacher
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.reward import Guesses

ROW = "wrong-answers"
MUST, TASKS = 0.9, 16
ANSWERS = (20, 60)
WRONG = Teacher(mistake=0.2)


def measure(options):
    """Two figures for each family and number of answers."""
    plan = Plan.of(options)
    seeds = plan.seeds if options.seeds else (0,)
    plan = replace(plan, seeds=seeds, num_tasks=options.tasks or (4 if plan.quick else TASKS))
    for answers in ANSWERS[:1] if plan.quick else ANSWERS:
        teach = partial(from_prior, answers=answers)
        yield from compared(ROW, plan, teach, f", {answers} answers")


def compared(row, plan, teach, after=""):
    """Robust and plain fit to wrong answers, beside the robust one to right ones.

    `after` is said of a figure after family and fit.
    """
    count = plan.num_tasks
    for family in FAMILIES:
        scale = references_of(family, plan)
        curves = {
            (fit, wrong): [teach(family, plan, seed, fit, wrong, count) for seed in plan.seeds]
            for fit, wrong in (("robust", False), ("robust", True), ("plain", True))
        }
        found = {
            kind: np.mean([scale.normalise(curve["returns"]) for curve in each], axis=0)
            for kind, each in curves.items()
        }
        right = found["robust", False]
        labels = np.asarray(curves["robust", False][0]["labels"]).astype(int).tolist()
        # Of several points with as many answers the last: there was practice in between.
        few = dict(zip(labels, right.mean(1).round(3).tolist(), strict=True))
        for fit, must in (("robust", MUST), ("plain", None)):
            value, low, high = share(found[fit, True][-1], right[-1])
            yield Result(
                row,
                f"{family}, {fit}{after}",
                value,
                low=low,
                high=high,
                must=must,
                seeds=plan.seeds,
                details={
                    "held_out_tasks": count,
                    "normalised_return": float(found[fit, True][-1].mean()),
                    "without_wrong_answers": float(right[-1].mean()),
                    "by_answers_without_wrong_ones": few,
                },
            )


def from_prior(family, plan, seed, fit, wrong, count, answers):
    """Each task's return, in the end after so many comparisons, two a round as with twenty."""
    preset, made = plan.preset(family), envs.make(family)
    teacher = WRONG if wrong else Teacher()
    config = replace(preset.twenty, labels=answers, rounds=answers // 2, teacher=teacher)

    def teach():
        prior = prior_of(family, seed, preset.joint)
        if fit == "plain":
            sure = replace(prior.belief, guesses=Guesses(0.0, None))
            prior = eqx.tree_at(lambda p: p.belief, prior, sure)
        tasks = held_out_tasks(made, count)
        lesson = adapt_from_prior(jax.random.key(seed), made, tasks, prior, config)
        return lesson.curve._asdict()

    path = path_of(
        "wrong-prior", family, count, seed, preset.joint, config, fit, made_by=[from_prior]
    )
    return kept(path, teach)
