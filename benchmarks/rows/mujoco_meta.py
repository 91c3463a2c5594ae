"""What one gradient step gains on MuJoCo's tasks after meta-training, beside MAML's own figures.

`metarlhf meta-train` as its presets say (with learned step sizes and an offset), on `finn2017`'s
HalfCheetahDir, HalfCheetahVel and AntDir, for a small part of the steps that MAML had: those of a
seed are in the details. The cheetah is meta-trained by ProMP. The ant is guided by experts, one
that PPO made of each direction (`--method guided`), whose steps are counted too; at test time there
is none. Policies act by sampling; a step learns from 10 episodes of a held-out task (the ant's from
20, as MAML's did), and as many more are counted after it.

The figure is the mean return after the step less that before it. The must is four fifths of what
MAML gained by its published evaluation (mean over 40 tasks), the aim all of it: bodies and physics
differ from theirs, so absolute returns, which are in the details with those from a random start,
compare less well.

Each seed's meta-training goes on where it was stopped; what was measured is kept
(`benchmarks.kept`).
"""

from contextlib import closing
from dataclasses import replace

import jax
import numpy as np

from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from metarlhf import envs
from metarlhf.cli.meta_train_host import meta_train_host
from metarlhf.devices import in_the_foreground
from metarlhf.experiments.evaluation import returns_after
from metarlhf.meta.presets import by_gradient
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.runs import RunDirectory
from metarlhf.sampling import HostTaskSampler, num_simulators
from metarlhf.statistics import mean_interval

ROW = "mujoco-meta"
TASKS, STEPS = 20, 3
METHODS = {"AntDir": "guided"}
# The ant takes three times as long to step.
SEEDS = {"HalfCheetahDir": 3, "HalfCheetahVel": 3, "AntDir": 1}
MUST = 0.8
# Mean returns before any step and after one, of Finn et al. 2017.
MAML = {
    "HalfCheetahDir": (-50.7, 293.0),
    "HalfCheetahVel": (-129.5, -78.6),
    "AntDir": (8.7, 499.0),
}


def measure(options):
    """A figure for each family."""
    in_the_foreground()
    count = options.tasks or (2 if options.quick else TASKS)
    for task, (before, after) in MAML.items():
        config = config_of(task, options.quick)
        seeds = tuple(range(options.seeds or (1 if options.quick else SEEDS[task])))
        found = [of_seed(f"finn2017/{task}", seed, count, config) for seed in seeds]
        adapted, random = (np.stack([one[name] for one in found]) for name in ("adapted", "random"))
        gain = mean_interval(adapted[:, 1] - adapted[:, 0], shared_tasks=True)
        yield Result.of(
            ROW,
            f"{task}, gain of one step",
            gain,
            must=MUST * (after - before),
            aim=after - before,
            seeds=seeds,
            details={
                "returns_after_steps": adapted.mean((0, 2)).round(1),
                "from_random_start": random.mean((0, 2)).round(1),
                "maml_before_and_after": [before, after],
                "by_seed": (adapted[:, 1] - adapted[:, 0]).mean(1).round(1),
                "held_out_tasks": count,
                "episodes_of_a_step": config.episodes,
                "method": config.method,
                "meta_training_steps": config.iterations * config.episodes_of_iteration * 200,
                "steps_of_experts": [int(one["expert_steps"]) for one in found],
            },
        )


def config_of(task, quick):
    """Its preset."""
    config = by_gradient(f"finn2017/{task}", METHODS.get(task, "promp"), "task").policy
    if quick:
        config = replace(config, iterations=1, meta_batch=2, episodes=2)
        if config.method == "guided":
            config = replace(config, expert_steps=3200)
    return config


def of_seed(name, seed, count, config):
    """Returns of each task before any step and after each, from a prior and from a random start."""
    options = replace(by_gradient(name, reward="task"), policy=config)
    path = path_of("meta", name.replace("/", "-"), seed, count, options, made_by=[measured])
    found = kept(path, lambda: measured(path, name, seed, count, options))
    returns = found["adapted"].mean(-1).round(1)
    print(f"  {name}, seed {seed}: {returns}", flush=True)
    return found


def measured(path, name, seed, count, options):
    """Meta-train, in a run beside, and measure."""
    family = envs.make_host(name)
    with RunDirectory(path.with_suffix(".run"), {"of": path.name}, resume=True) as run:
        prior = meta_train_host(run, family, seed, options)
        expert_steps = run.metrics.rows[-1].get("expert_steps", 0)
    key = jax.random.fold_in(jax.random.key(seed), 0xADA)
    tasks = held_out_tasks(family, count)
    with closing(family.connect(num_simulators(count, options.policy.episodes))) as env:
        sampler = HostTaskSampler(family, env)
        adapted = returns_after(key, sampler, tasks, prior, STEPS)
        random = returns_after(key, sampler, tasks, prior.shape.blank(key), STEPS)
    return {"adapted": adapted, "random": random, "expert_steps": np.array(expert_steps)}
