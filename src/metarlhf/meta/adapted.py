"""Which parameters of a policy the inner loop moves.

All of them; or the last layer and the standard deviation alone (ANIL: Raghu et al. 2020, "Rapid
learning or feature reuse?"), so that what all tasks share is learned by the outer loop alone. An
inner step then costs the gradient of one layer, whatever is below it.
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
    return eqx.partition(actor, moved)


def _head(actor: Actor) -> list:
    last = [actor.network.weights[-1], actor.network.biases[-1]]
    return last if actor.log_std is None else [*last, actor.log_std]
