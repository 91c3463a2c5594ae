"""What a run has learned about a reward, written and read back."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, files
from metarlhf.envs import Box, Discrete
from metarlhf.envs.base import ShownEnv
from metarlhf.errors import PublishedFileError
from metarlhf.feedback import blank, empty
from metarlhf.reward import (
    Ensemble,
    EnsembleConfig,
    GradientReward,
    LatentPosterior,
    LatentReward,
    Learned,
    RefinedPosterior,
    load_reward,
    publish_reward,
)
from metarlhf.reward.config import CostConfig
from metarlhf.reward.cost import CostModel

KEY = jax.random.key(0)
NONE = lambda leaf: leaf is None


def posterior(family):
    model = LatentReward(family, key=KEY, latent_size=3, num_features=5, hidden=(6,))
    return LatentPosterior.prior(model, jax.random.normal(KEY, (7, 3)))


BELIEFS = {
    "ensemble": lambda family: Ensemble.create(KEY, family, EnsembleConfig(2, hidden=(6,))),
    "additive": lambda family: Ensemble.create(KEY, family, EnsembleConfig(2, "additive", (6,))),
    "gradient": lambda family: GradientReward.create(KEY, family, members=2, hidden=(6, 4)),
    "posterior": posterior,
}


def learned(belief, family):
    seen = blank(family, 4)
    feedback = empty(blank(family, 1)[0], 3, 2)
    after = jax.tree.map(lambda x: x + 1, belief)
    return Learned(belief, after, feedback, seen, family)


@pytest.mark.parametrize("task", ["navigation", "cartpole"])
@pytest.mark.parametrize("kind", BELIEFS)
def test_what_was_learned_is_read_back_as_it_was(tmp_path, kind, task):
    family = envs.make_family(task)
    written = learned(BELIEFS[kind](family), family)
    found = load_reward(publish_reward(tmp_path, written))
    parts = lambda learned: (learned.before, learned.after, learned.feedback, learned.seen)
    assert jax.tree.structure(parts(found)) == jax.tree.structure(parts(written))
    jax.tree.map(np.testing.assert_array_equal, parts(found), parts(written))
    assert found.shown.name == family.name
    clips = blank(family, 3)
    np.testing.assert_array_equal(
        found.after(clips.obs, clips.action), written.after(clips.obs, clips.action)
    )


def test_what_must_never_be_is_read_back_where_there_is_such_a_thing(tmp_path):
    family = envs.make_family("navigation")
    plain = learned(posterior(family), family)
    assert load_reward(publish_reward(tmp_path / "plain", plain)).cost is None
    cost = CostModel.create(KEY, family, CostConfig(members=2, hidden=(6,), caution=0.5))
    folder = publish_reward(
        tmp_path / "held", eqx.tree_at(lambda x: x.cost, plain, cost, is_leaf=NONE)
    )
    found = load_reward(folder)
    assert found.cost.config == cost.config
    jax.tree.map(np.testing.assert_array_equal, found.cost, cost)
    description = json.loads((folder / files.DESCRIPTION).read_bytes())
    for change in ({"members": 0}, {"hats": 3}, 7):
        files.write_json(folder / files.DESCRIPTION, description | {"cost": change})
        with pytest.raises(PublishedFileError, match="it was changed"):
            load_reward(folder)


@pytest.mark.parametrize("action", [Discrete(3, ("a", "b", "c")), Box(1, -2.0, (3.0,), ("push",))])
def test_what_was_learned_in_a_simulator_says_what_that_was_like(tmp_path, action):
    shown = ShownEnv("Somewhere-v0", Box(2, (-1.0, -2.0), float("inf"), ("x", "v")), action, 7)
    written = learned(BELIEFS["ensemble"](shown), shown)
    found = load_reward(publish_reward(tmp_path, written))
    assert found.shown == shown
    jax.tree.map(np.testing.assert_array_equal, found.after, written.after)


def test_what_cannot_be_published_or_read_says_so(tmp_path):
    family = envs.make_family("navigation")
    refined = RefinedPosterior.of(posterior(family))
    with pytest.raises(ValueError, match="RefinedPosterior cannot be published: expected one of"):
        publish_reward(tmp_path / "refined", learned(refined, family))
    folder = publish_reward(tmp_path / "fine", learned(posterior(family), family))
    description = json.loads((folder / files.DESCRIPTION).read_bytes())
    for change in ({"belief": "a hunch"}, {"seen": "all"}, {"shape": {"members": 3}}):
        files.write_json(folder / files.DESCRIPTION, description | change)
        with pytest.raises(PublishedFileError, match="it was changed"):
            load_reward(folder)
    files.write_json(folder / files.DESCRIPTION, description | {"comparisons": 5})
    with pytest.raises(PublishedFileError, match="expected"):
        load_reward(folder)
    with pytest.raises(PublishedFileError, match="there is no"):
        load_reward(tmp_path / "nowhere")


def test_an_additive_reward_is_the_sum_of_its_curves():
    """One input at a time: what changes with one does not depend on the others."""
    family = envs.make_family("navigation")
    network = BELIEFS["additive"](family).models.network
    network = jax.tree.map(lambda x: x[0], network)
    x = jax.random.normal(KEY, (9, 4)).clip(-0.9, 0.9)
    reward = lambda x: network(x[..., :2], x[..., 2:])[..., 0]
    np.testing.assert_allclose(reward(x), network.parts(x).sum(-1), rtol=1e-5)
    hessian = jax.vmap(jax.hessian(reward))(x)
    off = hessian * (1 - jnp.eye(4))
    assert float(jnp.abs(hessian).max()) > 0.01
    np.testing.assert_allclose(off, 0.0, atol=1e-6)
