"""Results with made-up figures, and drawings of what real, untrained agents do."""

from functools import cache

import jax
import numpy as np

from metarlhf import envs
from metarlhf.networks import build_agent
from metarlhf.report import Example, FamilyPictures, Mark, Question, RewardMaps
from metarlhf.sampling.compiled import collect, reset


def curve(resource, used, mean):
    mean = np.asarray(mean, float)
    width = 0.08 * (1.1 - mean)
    return {
        resource: list(used),
        "mean": list(mean),
        "low": list(mean - width),
        "high": list(mean + width),
    }


def family_result(name="navigation/finn2017", **changes):
    used = [0, 10, 20, 50, 100, 200]
    result = {
        "family": name,
        "varies": "goal position (2 numbers)",
        "labels": 10,
        "feedback": "comparisons",
        "num_tasks": 40,
        "normalised_return": {"mean": 0.93, "low": 0.91, "high": 0.95},
        "untrained_return": -52.0,
        "oracle_return": -2.4,
        "scratch_labels_ratio": 17.0,
        "scratch_labels_at_least": True,
        "scratch_steps_ratio": 64.0,
        "scratch_steps_at_least": False,
        "seconds": 3.1,
        "steps": 2000,
        "meta_seconds": 61.0,
        "must": 0.8,
        "by_labels": curve("labels", [0, 2, 4, 6, 8, 10], [0.21, 0.45, 0.68, 0.82, 0.9, 0.93]),
        "scratch_by_labels": curve("labels", used, [0, 0.11, 0.29, 0.52, 0.71, 0.88]),
        "prior_by_steps": curve(
            "steps", [0, 400, 800, 1200, 1600, 2000], [0.21, 0.5, 0.7, 0.8, 0.9, 0.93]
        ),
        "scratch_by_steps": curve(
            "steps", [0, 8000, 32000, 64000, 128000], [0, 0.2, 0.52, 0.7, 0.93]
        ),
        "meta_training": {
            "iteration": list(range(0, 200, 10)),
            "return": [-40 + 1.8 * i for i in range(20)],
            "accuracy_hard": [None, *(0.5 + 0.02 * i for i in range(19))],
        },
        "per_task": list(np.clip(1.02 - 0.9 * np.linspace(0.01, 0.62, 40)[::-1] ** 4, 0, None)),
    }
    return result | changes


def results(*families):
    return {
        "command": "demo",
        "seed": 0,
        "seconds": 143.0,
        "versions": {"metarlhf": "0.1.0", "jax": "0.10.0"},
        "families": list(families) or [family_result()],
    }


@cache
def episodes(name):
    """A family, one of its tasks, and two episodes of untrained agents, each [time, obs]."""
    family = envs.make(name)

    @jax.jit
    def act():
        task_key, agent_key, key = jax.random.split(jax.random.key(3), 3)
        task = family.sample(task_key)
        actor = build_agent(agent_key, family, hidden=(8,)).actor
        start = reset(key, family, task, actor, 2)
        return task, collect(key, family, task, actor, start, family.horizon)[1].obs

    task, obs = act()
    return family, task, *np.asarray(obs)


def pictures(name="navigation/finn2017", questions=10, ratings=False):
    family, task, before, after = episodes(name)
    length = family.segment_length
    starts = [int(s) for s in np.linspace(0, len(before) - length, max(questions, 1))]
    asked = [
        Mark(before[s : s + length], float(1 + i % 10))
        if ratings
        else Question(before[s : s + length], after[s : s + length], [0.0, 1.0, 0.5][i % 3])
        for i, s in enumerate(starts[:questions])
    ]
    x, y = np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 30))
    maps = RewardMaps(
        -np.hypot(x - 0.2, y), np.exp(-np.hypot(x - 0.3, y)), (-1, 1, -1, 1), ("x", "y")
    )
    return FamilyPictures(
        family,
        [
            Example(task, before, after, 0, asked, maps),
            Example(task, after, before, 20),
            Example(task, after, after, 39),
        ],
    )
