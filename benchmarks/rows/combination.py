"""Answers and environment steps to 90 % of the oracle on held-out tasks, by meta-learner.

Everything together: a simulated teacher answers, a reward is learned from that, and a policy learns
what it pays. One meta-learner is told what is believed (the latent posterior); the others take
gradient steps from an initialisation, and differ in how that was meta-trained. All are meta-trained
for as many episodes as the default's preset has. Learning from scratch is beside them, by the
schedule that needs least.

Answers: as many as lead to such a policy, after all inner steps. Steps: those of the inner steps
when the most answers are given; asking about clips that came with a prior takes none, and counts as
one episode. "≥": 90 % was not reached with the most that was tried.
"""

import numpy as np

from benchmarks.combination import (
    SHARE,
    by_gradient_steps,
    by_posterior,
    config_of,
    of_scratch,
    reach,
)
from benchmarks.few_shot import FAMILIES, Plan, references_of
from benchmarks.harness import Result

ROW = "combination"
# What each is, by how it differs from ProMP with learned step sizes and offsets.
METHODS = {
    "ProMP": {},
    "ProMP, head alone (ANIL)": {"adapts": "head"},
    "MAML": {"method": "maml"},
    "FOMAML": {"method": "fomaml"},
    "E-MAML": {"method": "e-maml"},
    "Reptile": {"method": "reptile"},
}
POSTERIOR, SCRATCH = "latent posterior", "from scratch"


def plan_of(options):
    """Two seeds and 16 tasks, or what the command line says."""
    seeds = options.seeds or (1 if options.quick else 2)
    tasks = options.tasks or (4 if options.quick else 16)
    return Plan(tuple(range(seeds)), tasks, options.quick)


def ways(family, method, plan):
    """By resource, the ways that `method` may go, each a curve for each seed."""
    if method == SCRATCH:
        found = of_scratch(family, plan)
        return {"labels": found, "steps": found}
    if method == POSTERIOR:
        way = by_posterior(family, plan)
    else:
        way = by_gradient_steps(family, plan, METHODS[method])
    return {"labels": [way.labels], "steps": [way.steps]}


def measure(options):
    """For each family and method the answers, and the steps."""
    plan = plan_of(options)
    for family in FAMILIES:
        scale = references_of(family, plan)
        for method in (POSTERIOR, *METHODS, SCRATCH):
            found = ways(family, method, plan)
            for resource in ("labels", "steps"):
                yield figure(family, method, resource, found[resource], scale, plan)


def figure(family, method, resource, found, scale, plan):
    """One line of the table; all points of its curves are in the details."""
    value, never, low, high = reach(found, resource, scale)
    means = [np.mean([c.normalise(scale).returns.mean(1) for c in way], axis=0) for way in found]
    details = {
        "held_out_tasks": plan.num_tasks,
        "share_of_the_oracle": SHARE,
        resource: [getattr(way[0], resource).tolist() for way in found],
        "normalised_return": [mean.round(4).tolist() for mean in means],
        "meta_training_episodes": episodes_of(family, method, plan),
    }
    return Result(
        ROW,
        f"{family}, {resource}, {method}",
        value,
        low=low,
        high=high,
        better="lower",
        at_least=never,
        seeds=plan.seeds,
        details=details,
    )


def episodes_of(family, method, plan):
    """Episodes of meta-training."""
    if method == SCRATCH:
        return 0
    if method == POSTERIOR:
        joint = plan.preset(family).joint
        return joint.iterations * joint.tasks * joint.episodes
    policy = config_of(family, METHODS[method], plan).policy
    return policy.iterations * policy.episodes_of_iteration
