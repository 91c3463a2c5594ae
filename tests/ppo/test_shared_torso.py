"""One torso for policy and value function: who shapes it, and that nothing else changes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo
from metarlhf.networks import Agent, build_agent, load_agent, publish_agent
from metarlhf.ppo.update import loss, make_batch
from metarlhf.sampling import CompiledSampler
from tests.recall import Recall


class Sees:
    """Spaces alone: networks need no more of an environment."""

    action_space = envs.Discrete(3, ("a", "b", "c"))

    def __init__(self, observation_space):
        self.observation_space = observation_space


VECTOR, PICTURE = envs.Box(4, -1.0, 1.0, tuple("wxyz")), envs.Image((10, 10, 2), "float32")
SEEN = {
    "vector": Sees(VECTOR),
    "image": Sees(PICTURE),
    "both": Sees(envs.Parts(("vector", "image"), (VECTOR, PICTURE))),
}


def observed(space, key):
    """Two environments, five steps."""
    if isinstance(space, envs.Parts):
        parts = zip(space.names, space.spaces, jax.random.split(key), strict=True)
        return {name: observed(part, own) for name, part, own in parts}
    shape = space.shape if isinstance(space, envs.Image) else (space.size,)
    return jax.random.normal(key, (2, 5, *shape))


def reached(gradient):
    return [bool(np.asarray(leaf).any()) for leaf in jax.tree.leaves(gradient) if leaf.size]


@pytest.mark.parametrize("memory", [None, "gru", "lstm"])
@pytest.mark.parametrize("seen", SEEN)
def test_the_value_loss_reaches_all_of_the_shared_torso_and_not_the_policys_last_layer(
    seen, memory
):
    spaces = SEEN[seen]
    agent = build_agent(
        jax.random.key(0), spaces, (8, 6), memory=memory, memory_size=5, shared_torso=True
    )
    obs = observed(spaces.observation_space, jax.random.key(1))
    start = jax.tree.map(lambda x: jnp.ones((2, *x.shape)), agent.actor.initial_state())
    done = jnp.zeros((2, 5), bool).at[0, 2].set(True)

    def values(agent):
        return (agent.over(obs, start, start, done)[1] ** 2).sum()

    gradient = jax.jit(jax.grad(values))(agent)
    network = gradient.actor.network
    assert all(reached((gradient.actor.body, network.weights[:-1], network.biases[:-1])))
    assert all(reached(gradient.critic))
    assert not any(reached((network.weights[-1], network.biases[-1])))
    # Put together by hand, and gone through twice, it is the same function.
    whole = agent.value_function.over(obs, start, done)[0]
    policy, value = agent.over(obs, start, start, done)
    np.testing.assert_allclose(value, whole, rtol=1e-5, atol=1e-6)
    alone = agent.actor.over(obs, start, done)
    np.testing.assert_allclose(policy.logits, alone.logits, rtol=1e-5, atol=1e-6)


def test_by_default_nothing_is_shared():
    agent = build_agent(jax.random.key(0), SEEN["vector"], (8,))
    assert not agent.shares_torso
    assert agent.value_function is agent.critic
    obs = observed(VECTOR, jax.random.key(1))
    gradient = jax.grad(lambda agent: agent.over(obs)[1].sum())(agent)
    assert not any(reached(gradient.actor))
    shared = build_agent(jax.random.key(0), SEEN["vector"], (8,), shared_torso=True)
    for one, other in zip(*map(jax.tree.leaves, (agent.actor, shared.actor)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_update_moves_one_torso_by_both_losses():
    """The gradient of PPO's loss is that of its parts, each through a torso of its own, added."""
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = ppo.PPOConfig(
        num_envs=4, num_steps=8, hidden=(8,), normalise_obs=True, shared_torso=True
    )
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    state, trajectory = jax.jit(
        lambda s: ppo.play(s, CompiledSampler(family, task, config.num_envs), config)
    )(state)
    agent = state.agent.with_moments(state.agent.actor.body.moments.update(trajectory.obs))
    batch, _ = make_batch(agent, trajectory, config)
    ones = jnp.ones(())
    whole = jax.grad(lambda a: loss(a, batch, config, ones)[0])(agent)

    apart = Agent(agent.actor, agent.value_function)
    parts = jax.grad(lambda a: loss(a, batch, config, ones)[0])(apart)
    acts, judges = parts.actor.network.weights, parts.critic.network.weights
    assert np.asarray(acts[0]).any()
    assert np.asarray(judges[0]).any()
    np.testing.assert_allclose(whole.actor.network.weights[0], acts[0] + judges[0], atol=1e-6)
    np.testing.assert_allclose(whole.actor.network.weights[1], acts[1], atol=1e-6)
    np.testing.assert_allclose(whole.critic.network.weights[0], judges[1], atol=1e-6)


@pytest.mark.parametrize("memory", [None, "gru"])
def test_what_ppo_trained_on_one_torso_is_read_as_it_was(tmp_path, memory):
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = ppo.PPOConfig(
        num_envs=4, num_steps=16, hidden=(8,), memory=memory, memory_size=4, shared_torso=True,
        normalise_obs=True,
    )  # fmt: skip
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    agent = ppo.iterate_many(state, CompiledSampler(family, task, config.num_envs), config, 1)[
        0
    ].agent
    read = load_agent(publish_agent(tmp_path, agent, "cartpole"))
    assert read.shares_torso
    assert jax.tree.structure(read) == jax.tree.structure(agent)
    for one, other in zip(*map(jax.tree.leaves, (agent, read)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_with_one_memory_for_both_recall_is_solved():
    config = ppo.PPOConfig(
        total_steps=30_720, num_envs=32, num_steps=8, lr=1e-2, hidden=(16,), gamma=0.9,
        memory="gru", memory_size=16, evaluate_every=120, evaluation_episodes=64, shared_torso=True,
    )  # fmt: skip
    recall, task = Recall(), jnp.zeros(())
    state = ppo.init(jax.random.key(1), CompiledSampler(recall, task, config.num_envs), config)
    *_, (_, entry) = ppo.train(state, CompiledSampler(recall, task, config.num_envs), config)
    assert entry["return"] > 0.95


def test_a_last_layer_alone_says_whom_to_ask():
    agent = build_agent(jax.random.key(0), SEEN["vector"], (8,), shared_torso=True)
    with pytest.raises(ValueError, match=r"ask agent\.value_function"):
        agent.critic(jnp.zeros(4))


def test_a_trust_region_on_a_shared_torso_is_refused():
    with pytest.raises(ValueError, match="choose objective clip or kl, or no shared_torso"):
        replace(ppo.PPOConfig(objective="trpo"), shared_torso=True)
