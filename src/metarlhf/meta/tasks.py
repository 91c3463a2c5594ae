"""Batches of tasks: how many they are, the same for each, and means over them.

Tasks that meta-training never sees.

The pool of clips that meta-training asks its teacher about, renewed as the policy learns.

Which pairs of clips to be asked about while meta-training, where answers are plenty.

Random pairs are mostly easy. A reward that has seen only those gives soft predictions, and a
posterior with soft predictions asks where the reward is inaccurate, not where the task is unknown.
So half of the pairs are such that look alike by the reward's present predictions.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray, PyTree

from metarlhf.devices import number, spread
from metarlhf.envs.base import TaskFamily, Tasks, TestedFamily
from metarlhf.feedback import Library, cut
from metarlhf.types import Task, Trajectory

Data = TypeVar("Data", bound=PyTree)
Found = TypeVar("Found")


def count_of(tasks: PyTree) -> int:
    """How many tasks they are: all leaves have that leading dimension."""
    return jax.tree.leaves(tasks)[0].shape[0]


def for_each(count: int, tree: Data) -> Data:
    """The same, such as an agent, for each of `count` tasks: leaves get that leading dimension."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), tree)


def mean_over_tasks(of: Callable[[Data], Found], collected: Data, at_once: int | None) -> Found:
    """What `of` says of all tasks, where it says means over those that it is given; a few tasks at
    a time on each device, as what is between fits a core's caches then.

    `collected` has leading dimensions (step, task). Nothing of one batch of tasks is kept for the
    next: a gradient is to be taken inside `of`, as one taken of the mean would have the
    intermediate values of all tasks to remember. Each device goes through its own share, and only
    their means meet. `at_once` None is as `MetaRLConfig.tasks_at_once` says.
    """
    shared_out = jax.tree.map(_by_device, collected)
    share = jax.tree.leaves(shared_out)[0].shape[2]
    if at_once is None:
        at_once = 1 if jax.default_backend() == "cpu" else share
    at_once = min(at_once, share)
    each = jax.vmap(of)

    def add(total, first, size):
        few = lambda x: jax.lax.dynamic_slice_in_dim(x, first, size, axis=2)
        found = each(spread(jax.tree.map(few, shared_out)))
        more = lambda so_far, mean: so_far + size / share * mean
        return spread(jax.tree.map(more, total, found))

    whole = share - share % at_once
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(each, shared_out))
    total, _ = jax.lax.scan(
        lambda total, first: (add(total, first, at_once), None),
        spread(nothing),
        jnp.arange(0, whole, at_once),
    )
    total = add(total, whole, share - whole) if whole < share else total
    return jax.tree.map(lambda x: x.mean(0), total)


def _by_device(x: Array) -> Array:
    """(step, task) to (device, step, task of the device), all on one where they do not part."""
    steps, tasks, *rest = x.shape
    devices = number() if tasks % number() == 0 else 1
    return spread(jnp.moveaxis(x.reshape(steps, devices, tasks // devices, *rest), 1, 0))


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


def draw_clips(
    key: PRNGKeyArray, family: TaskFamily, trajectory: Trajectory, count: int
) -> Library:
    """Random clips of the episodes of many tasks, dimensions (task, episode, time)."""
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), trajectory)
    stride = max(1, family.segment_length // 2)
    clips, within_one = cut(flat, family.segment_length, stride)
    followed = eqx.tree_at(lambda t: t.obs, flat, flat.next_obs)
    next_obs = cut(followed, family.segment_length, stride)[0].obs
    logits = jnp.where(within_one, 0.0, -jnp.inf)
    index = jax.random.categorical(key, logits, shape=(count,))
    return Library(clips, next_obs)[index]


def put(key: PRNGKeyArray, pool: Library, new: Library) -> Library:
    """The pool with `new` clips in place of as many random old ones."""
    place = jax.random.choice(key, len(pool), (len(new),), replace=False)
    return jax.tree.map(lambda rows, row: rows.at[place].set(row), pool, new)


RIVALS = 8


class Pairs(NamedTuple):
    """Indices of clips, and which of the pairs were picked for looking alike."""

    left: Integer[Array, "task pair"]
    right: Integer[Array, "task pair"]
    hard: Bool[Array, " pair"]


def pick(
    values: Float[Array, "task clip *value"], index: Integer[Array, "task *pair"]
) -> Float[Array, "task ..."]:
    """For every task the values of its clips at `index`."""
    return jax.vmap(lambda values, index: values[index])(values, index)


def random_pairs(
    key: PRNGKeyArray, shape: tuple[int, ...], num_clips: int
) -> tuple[Integer[Array, "*shape"], Integer[Array, "*shape"]]:
    """Pairs of two different clips, each as likely as any other."""
    left_key, right_key = jax.random.split(key)
    left = jax.random.randint(left_key, shape, 0, num_clips)
    apart = jax.random.randint(right_key, shape, 1, num_clips)
    return left, (left + apart) % num_clips


def draw_pairs(key: PRNGKeyArray, predicted: Float[Array, "task clip"], count: int) -> Pairs:
    """`count` pairs for every task: a random clip, and another one or the most alike of eight."""
    num_tasks, num_clips = predicted.shape
    left_key, right_key = jax.random.split(key)
    left = jax.random.randint(left_key, (num_tasks, count), 0, num_clips)
    # From 1 on: a clip is as like itself as can be, and no question.
    apart = jax.random.randint(right_key, (num_tasks, count, RIVALS), 1, num_clips)
    rivals = (left[..., None] + apart) % num_clips
    gap = jnp.abs(pick(predicted, rivals) - pick(predicted, left)[..., None])
    closest = jnp.take_along_axis(rivals, jnp.argmin(gap, -1)[..., None], -1)[..., 0]
    hard = jnp.arange(count) % 2 == 0
    return Pairs(left, jnp.where(hard, closest, rivals[..., 0]), hard)
