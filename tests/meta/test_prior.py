"""A prior survives being published, and one that was damaged is refused."""

import json
import shutil

import jax
import numpy as np
import pytest

from metarlhf.errors import PublishedFileError, WrongFamilyError
from metarlhf.files import DESCRIPTION, WEIGHTS
from metarlhf.meta.prior import PosteriorShape, load_prior
from tests.meta.tiny import FAMILY
from tests.same import assert_same, differ


def made(seed, shape):
    return jax.jit(shape.blank)(jax.random.key(seed))


@pytest.fixture
def folder(prior, tmp_path):
    return prior.save(tmp_path / "prior", {"seed": 3})


def test_a_prior_survives_a_round_trip(prior, folder):
    found = load_prior(folder)
    assert_same(found, prior)
    assert found.shape == prior.shape
    assert found.family.name == FAMILY.name
    assert json.loads((folder / DESCRIPTION).read_text())["about"] == {"seed": 3}


def test_it_is_loaded_for_its_own_family_by_any_of_its_names_and_for_no_other(folder):
    for name in ("navigation", "navigation/finn2017"):
        assert load_prior(folder, name).family.name == FAMILY.name
    for name in ("reacher", "navigation/pearl2019"):
        with pytest.raises(WrongFamilyError, match=f"'navigation/finn2017', not on '{name}'"):
            load_prior(folder, name)


def test_a_changed_bit_of_its_weights_is_refused(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(PublishedFileError, match="truncated or was changed"):
        load_prior(folder)


def test_another_priors_weights_are_refused(prior, folder, tmp_path):
    other = made(1, prior.shape).save(tmp_path / "other")
    shutil.copy(other / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(PublishedFileError, match="truncated or was changed"):
        load_prior(folder)


def test_a_shape_that_its_weights_do_not_have_is_refused(folder):
    path = folder / DESCRIPTION
    description = json.loads(path.read_text())
    description["shape"]["particles"] += 1
    path.write_text(json.dumps(description))
    with pytest.raises(PublishedFileError, match=r"holds \(32, 3\) as .*particles, expected"):
        load_prior(folder)


@pytest.mark.parametrize("shape", [{}, {"family": "navigation"}, None, "small"])
def test_a_description_without_a_shape_is_refused(folder, shape):
    path = folder / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": shape}))
    with pytest.raises(PublishedFileError, match=f"{DESCRIPTION} does not say"):
        load_prior(folder)


def test_a_blank_prior_believes_nothing_and_has_the_shape_that_was_asked_for():
    shape = PosteriorShape("pendulum", (4,), library=3, particles=5, latent_size=2, num_features=6,
                  reward_hidden=(4,))  # fmt: skip
    one, other = (made(seed, shape) for seed in (0, 1))
    assert one.belief.particles.shape == (5, 2)
    np.testing.assert_allclose(one.belief.weight, 0.2)
    np.testing.assert_array_equal(one.belief.context(), [0, 0])
    assert len(one.library) == 3
    assert one.agent.actor.context.shape == (2,)
    assert one.belief.model.decoder.weights[-1].shape == (4, 6)
    assert differ(one.agent, other.agent)
