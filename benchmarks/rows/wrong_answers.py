"""What is learned where one answer in five is wrong, as a share of what errorless answers teach.

From a prior with twenty comparisons: the posterior as it is, which estimates how many answers are
guesses, beside one that takes every answer at its word. From scratch, by the schedule for few
answers: an ensemble that is held to its prior and estimates them, too (`reward.ROBUST`), beside the
plain one. Each is divided by the errorless answers' normalised return of the robust way. Sixteen
held-out tasks with a prior, the first eight of them from scratch, where each is a run of its own.
"""

from dataclasses import replace

import equinox as eqx
import jax
import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, prior_of, references_of
from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from benchmarks.rows.teachers import share
from metarlhf import envs
from metarlhf.feedback import Teacher
from metarlhf.meta.evaluate import held_out_tasks, teach_from_prior, teach_from_scratch
from metarlhf.reward import ROBUST, EnsembleConfig, Guesses

ROW = "wrong-answers"
MUST, TASKS = 0.9, 16
WRONG = Teacher(mistake=0.2)
PLAIN = EnsembleConfig()


def measure(options):
    """Four figures for each family."""
    plan = Plan.of(options)
    seeds = plan.seeds if options.seeds else (0,)
    plan = replace(plan, seeds=seeds, num_tasks=options.tasks or (4 if plan.quick else TASKS))
    for family in FAMILIES:
        whole = references_of(family, plan)
        for place, make, seeds, count in (
            ("with a prior", from_prior, plan.seeds, plan.num_tasks),
            ("from scratch", from_scratch, (0,), plan.num_tasks // 2),
        ):
            scale = whole.first(count)
            found = {
                (fit, wrong): np.mean(
                    [
                        scale.normalise(make(family, plan, seed, fit, wrong, count))
                        for seed in seeds
                    ],
                    axis=0,
                )
                for fit, wrong in (("robust", False), ("robust", True), ("plain", True))
            }
            for fit, must in (("robust", MUST), ("plain", None)):
                value, low, high = share(found[fit, True], found["robust", False])
                yield Result(
                    ROW,
                    f"{family}, {place}, {fit}",
                    value,
                    low=low,
                    high=high,
                    must=must,
                    seeds=seeds,
                    details={
                        "held_out_tasks": count,
                        "normalised_return": float(found[fit, True].mean()),
                        "without_wrong_answers": float(found["robust", False].mean()),
                    },
                )


def from_prior(family, plan, seed, fit, wrong, count):
    """Each task's return after twenty comparisons."""
    preset, made = plan.preset(family), envs.make(family)
    config = replace(preset.twenty, teacher=WRONG if wrong else Teacher())

    def teach():
        prior = prior_of(family, seed, preset.joint)
        if fit == "plain":
            sure = replace(prior.belief, guesses=Guesses(0.0, None))
            prior = eqx.tree_at(lambda p: p.belief, prior, sure)
        tasks = held_out_tasks(made, count)
        lesson = teach_from_prior(jax.random.key(seed), made, tasks, prior, config)
        return {"returns": lesson.curve.returns[-1]}

    path = path_of("wrong-prior", family, count, seed, preset.joint, config, fit)
    return kept(path, teach)["returns"]


def from_scratch(family, plan, seed, fit, wrong, count):
    """Each task's return at the end."""
    made, ensemble = envs.make(family), {"robust": ROBUST, "plain": PLAIN}[fit]
    config = replace(plan.preset(family).few_labels, teacher=WRONG if wrong else Teacher())

    def teach():
        tasks = held_out_tasks(made, count)
        lesson = teach_from_scratch(jax.random.key(seed), made, tasks, config, ensemble)
        print(
            f"  {family}, {fit}, wrong {wrong}: {lesson.curve.returns[-1].mean():.2f}", flush=True
        )
        return {"returns": lesson.curve.returns[-1]}

    path = path_of("wrong-scratch", family, count, seed, config, ensemble)
    return kept(path, teach)["returns"]
