"""Agents on disk: what is read is what was written, and acts as it did."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo
from metarlhf.errors import PublishedFileError, UnknownTaskError
from metarlhf.networks import build_agent, load_agent, publish_agent
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import evaluate

KINDS = {
    "plain": {},
    "told": {"context_size": 3},
    "recurrent": {"memory": "lstm", "memory_size": 5},
    "normalised": {"normalise_obs": True},
    "squashed": {"squash": True},
    "on one torso": {"shared_torso": True, "memory": "gru", "memory_size": 5},
    "told on one torso": {"shared_torso": True, "context_size": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_comes_back_as_it_was(tmp_path, kind):
    agent = build_agent(jax.random.key(0), envs.make("reacher"), (8, 4), **KINDS[kind])
    agent = jax.tree.map(lambda x: x + 0.1, agent)
    read = load_agent(publish_agent(tmp_path / "agent", agent, "reacher"))
    assert jax.tree.structure(read) == jax.tree.structure(agent)
    for one, other in zip(jax.tree.leaves(agent), jax.tree.leaves(read), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_ppo_trained_acts_the_same_when_read(tmp_path):
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = ppo.PPOConfig(num_envs=4, num_steps=16, hidden=(8,), memory="gru", memory_size=4)
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    agent = ppo.iterate_many(state, CompiledSampler(family, task, config.num_envs), config, 1)[
        0
    ].agent
    read = load_agent(publish_agent(tmp_path, agent, "cartpole"))
    returns = jax.jit(lambda agent: evaluate(jax.random.key(1), family, task, agent.actor, 4))
    np.testing.assert_array_equal(returns(agent), returns(read))


def test_an_agent_of_a_simulator_beside_the_program_is_read_by_its_spaces(tmp_path):
    spaces = envs.make("reacher")
    agent = build_agent(jax.random.key(0), spaces, (8,))
    folder = publish_agent(tmp_path, agent, "SomebodysArm-v3")
    with pytest.raises(UnknownTaskError, match="SomebodysArm-v3"):
        load_agent(folder)
    assert load_agent(folder, spaces).actor.network.weights[0].shape == (8, 8)


def test_a_description_that_was_changed_is_refused(tmp_path):
    agent = build_agent(jax.random.key(0), envs.make("reacher"), (8,))
    path = publish_agent(tmp_path, agent, "reacher") / "description.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"shape": {"hidden": 8}}))
    with pytest.raises(PublishedFileError, match="does not say of what shape the agent is"):
        load_agent(tmp_path)
