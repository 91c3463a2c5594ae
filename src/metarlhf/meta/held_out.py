"""Tasks that meta-training never sees."""

from typing import Literal

import jax

from metarlhf.envs.base import Tasks
from metarlhf.envs.host import TestedFamily
from metarlhf.types import Task

# Folded into the key of held-out tasks, so that no seed of meta-training draws the same ones.
SPLITS = {"validation": 0x7E57, "test": 0x7E58}


def held_out_tasks(
    family: Tasks, count: int, split: Literal["validation", "test"] = "test"
) -> Task:
    """`count` tasks that meta-training never sees; always the same ones.

    Presets are chosen on the "validation" tasks, what is published is measured on the others. Where
    a family says itself what it is tested on, these are the first of them.
    """
    if isinstance(family, TestedFamily) and split == "test":
        return jax.tree.map(lambda x: x[:count], family.test_tasks())
    key = jax.random.fold_in(jax.random.key(0), SPLITS[split])
    return jax.vmap(family.sample)(jax.random.split(key, count))
