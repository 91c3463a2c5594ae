"""Which parameters of a policy the inner loop moves.

All of them; or the last layer and the standard deviation alone (ANIL: Raghu et al. 2020, "Rapid
learning or feature reuse?"), so that what all tasks share is learned by the outer loop alone, and
an inner step costs the gradient of one layer, whatever is below it; or the context alone, a few
numbers that the policy is given beside what it observes (CAVIA: Zintgraf et al. 2019, "Fast context
adaptation via meta-learning").

How the inner loop moves parameters: an Optax transformation, fixed or meta-learned.

A learned rule has step sizes of its own for tensors or parameters, negative ones too (Meta-SGD, Li
et al. 2017), or a network that says how each parameter moves (`contrib.learned_optimiser`), and may
have an offset that it adds whatever the gradient says (NoRML, Yang et al. 2019): exploring is
another thing than acting, and the offset leads from the one policy to the other. Step sizes and
offsets are each inner step's own; steps beyond the last learned one use the last step sizes and no
offset.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Integer, PRNGKeyArray, PyTree

from metarlhf import optimise
from metarlhf.meta.config import MetaRLConfig
from metarlhf.networks import Actor


def split(actor: Actor, config: MetaRLConfig) -> tuple[Actor, Actor]:
    """What the inner loop moves, and what it leaves; each has None where the other has an array.

    `equinox.combine` makes them one again.
    """
    moved = jax.tree.map(lambda _: config.adapts == "policy", actor)
    if config.adapts == "head":
        moved = eqx.tree_at(_head, moved, [True] * len(_head(moved)))
    elif config.adapts == "context":
        moved = eqx.tree_at(lambda m: m.body.context, moved, True)
    return eqx.partition(actor, moved)


def _head(actor: Actor) -> list:
    last = [actor.network.weights[-1], actor.network.biases[-1]]
    return last if actor.log_std is None else [*last, actor.log_std]


# Folded into the key of an agent: a rule's own random weights.
RULE = 0x501E


class LearnedRule(eqx.Module):
    """What is meta-learned of an update rule; a part that is not learned is None.

    Step sizes and offset have the shape of what adapts of the policy, each leaf with a leading
    dimension for the inner steps.
    """

    multiples: PyTree
    """Step sizes in units of a common one: near 1, for the outer optimiser's sake."""
    offset: PyTree
    """What each step adds to the parameters."""
    network: PyTree = None
    """A `contrib.learned_optimiser.LearnedOptimiser`, which says how each parameter moves."""


class StepCount(NamedTuple):
    """How many steps a learned rule has taken."""

    count: Integer[Array, ""]


def meta_sgd(multiples: PyTree, inner_lr: float) -> optax.GradientTransformation:
    """Gradient descent, each tensor or parameter at a step size of its own.

    Each leaf of `multiples` has shape (step, ...), where ... broadcasts with the parameter's shape.
    Differentiable with respect to `multiples`.
    """
    num_steps = _num_steps(multiples)

    def update(updates, state, params=None):
        step = jnp.minimum(state.count, num_steps - 1)
        updates = jax.tree.map(lambda m, g: -inner_lr * m[step] * g, multiples, updates)
        return updates, StepCount(state.count + 1)

    return optax.GradientTransformation(_no_steps, update)


def add_offset(offset: PyTree) -> optax.GradientTransformation:
    """Add the k-th of each leaf of `offset` in step k, and nothing after the last."""
    num_steps = _num_steps(offset)

    def update(updates, state, params=None):
        step = jnp.minimum(state.count, num_steps - 1)
        is_learned = state.count < num_steps
        updates = jax.tree.map(lambda o, u: u + is_learned * o[step], offset, updates)
        return updates, StepCount(state.count + 1)

    return optax.GradientTransformation(_no_steps, update)


def _no_steps(params):
    return StepCount(jnp.zeros((), jnp.int32))


def _num_steps(tree: PyTree) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def initial_rule(key: PRNGKeyArray, actor: Actor, config: MetaRLConfig) -> LearnedRule:
    """Where a learned rule starts: as gradient descent with the step size `config.inner_lr`.

    All step sizes are that, offsets are zero, and a network says nothing (`key` is for its other
    weights). Step sizes and offsets are there for what the inner loop moves, and None for the rest
    (see `adapted`).
    """
    moved, _ = split(actor, config)

    def ones(parameter):
        shape = parameter.shape
        if config.learn_inner_lr == "tensor":
            shape = (1,) * len(shape)
        return jnp.ones((config.inner_steps, *shape))

    def zeros(parameter):
        return jnp.zeros((config.inner_steps, *parameter.shape))

    return LearnedRule(
        None if config.learn_inner_lr == "none" else jax.tree.map(ones, moved),
        jax.tree.map(zeros, moved) if config.learn_offset else None,
        _network(key) if config.inner_rule == "learned" else None,
    )


def _network(key: PRNGKeyArray) -> PyTree:
    """An untrained network, by which a rule begins as gradient descent."""
    # Imported when it is asked for: what is in contrib builds on meta.
    from metarlhf.contrib.learned_optimiser import LearnedOptimiser

    return LearnedOptimiser(key=key).silenced()


def update_rule(learned: LearnedRule, config: MetaRLConfig) -> optax.GradientTransformation:
    """The inner loop's rule: as `config` says, with what is `learned` of it."""
    descent = optax.sgd(config.inner_lr)
    if config.inner_rule == "adam":
        # A root of zero has no derivative.
        descent = optax.adam(config.inner_lr, eps_root=1e-16)
    elif learned.network is not None:
        descent = learned.network.descent(config.inner_steps, config.inner_lr)
    elif learned.multiples is not None:
        descent = meta_sgd(learned.multiples, config.inner_lr)
    if learned.offset is None:
        return descent
    return optax.chain(descent, add_offset(learned.offset))


def begin(rule: optax.GradientTransformation, actor: Actor, config: MetaRLConfig) -> optax.OptState:
    """Where `rule` begins: it is shown what the inner loop moves, and nothing else."""
    return optimise.begin(rule, split(actor, config)[0])
