"""One tiny meta-training for all tests of what follows from it."""

import jax
import pytest

from metarlhf.meta import joint
from tests.meta.tiny import CONFIG, LEARNING


@pytest.fixture(scope="session")
def states():
    """The states before and after each of three iterations."""
    begin = jax.jit(joint.init, static_argnums=(1, 2))(jax.random.key(0), LEARNING, CONFIG)
    return [begin, *(state for state, _ in joint.meta_train(begin, LEARNING, CONFIG))]


@pytest.fixture(scope="session")
def prior(states):
    return joint.prior_of(states[-1], LEARNING, CONFIG)
