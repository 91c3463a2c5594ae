"""What a learned reward pays for: how much of it each feature accounts for."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.explain import attribution
from metarlhf.explain.following import (
    Follows,
    InTermsOf,
    in_terms_of_the_rest,
    nothing_follows,
)
from metarlhf.explain.found import Importance
from metarlhf.explain.rewards import Feature, OfInputs, Pays
from metarlhf.explain.steps import spaced

# Steps that attributions are taken over.
ATTRIBUTED = 256
AFTER = "after"
"""What the learned reward is called."""


class PaysFor(NamedTuple):
    """Of each reward by its name, and of the learned one step by step."""

    importance: dict[str, Importance]
    follows: list[Follows]
    learned: Pays
    """The learned reward, in terms of what does not follow from the rest."""
    attributed: attribution.Attribution
    """What it is made of, step by step."""


def what_it_pays_for(
    key: PRNGKeyArray,
    rewards: Mapping[str, OfInputs],
    x: Float[Array, "step inputs"],
    references: Float[Array, "reference inputs"],
    features: tuple[Feature, ...],
) -> PaysFor:
    """How much of each reward is paid for each feature, in terms of what varies by itself."""
    looked = spaced(x, ATTRIBUTED)
    attribute = lambda reward: attribution.integrated_gradients(reward, looked, references)
    share = lambda found: attribution.shares(
        attribution.by_feature(np.asarray(found.parts), features)
    )
    looks_at = attribute(InTermsOf(rewards[AFTER], nothing_follows(x.shape[1])))
    follows, terms = in_terms_of_the_rest(rewards[AFTER], np.asarray(x), features, share(looks_at))
    wants = {name: InTermsOf(reward, terms) for name, reward in rewards.items()}
    attributed = {name: attribute(reward) for name, reward in wants.items()}
    importance = {}
    for name, reward in wants.items():
        permuted = attribution.permutation_importance(key, reward, looked, features)
        importance[name] = Importance(share(attributed[name]), np.asarray(permuted))
    return PaysFor(importance, follows, wants[AFTER], attributed[AFTER])
