"""Which parameters of a policy the inner loop moves.

All of them; or the last layer and the standard deviation alone (ANIL: Raghu et al. 2020, "Rapid
learning or feature reuse?"), so that what all tasks share is learned by the outer loop alone, and
an inner step costs the gradient of one layer, whatever is below it; or the context alone, a few
numbers that the policy is given beside what it observes (CAVIA: Zintgraf et al. 2019, "Fast context
adaptation via meta-learning").
"""

import equinox as eqx
import jax

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
