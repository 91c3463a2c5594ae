"""A learned optimiser says what plain NumPy says, moves what learns, and is read as written."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, optimise
from metarlhf.contrib.learned import load_learned, publish_learned
from metarlhf.contrib.learned_optimiser import (
    LearnedOptimiser,
    OptimiserShape,
    Schedule,
    learned_transformation,
    places,
)
from metarlhf.errors import PublishedFileError
from metarlhf.networks import build_agent, publish_agent

NETWORK = LearnedOptimiser(key=jax.random.key(0))
SCHEDULE = Schedule(updates=3, epochs=2, minibatches=2)
PARAMS = {"layers": [jnp.array([[1.0, -2.0], [0.5, 3.0]]), jnp.array([0.2, -0.1])]}
DORMANCY = {"layers": [jnp.array([0.5, 1.5]), jnp.array([2.0, 0.0])]}


def gradients(seed):
    shape = lambda p: jax.random.normal(jax.random.key(seed), p.shape)
    return jax.tree.map(shape, PARAMS)


def quiet(network):
    """The same without noise."""
    last = lambda n: (n.layers[-1].weight, n.layers[-1].bias)
    weight, bias = last(network)
    return eqx.tree_at(last, network, (weight.at[2].set(0.0), bias.at[2].set(0.0)))


def test_it_is_of_the_published_size():
    assert sum(leaf.size for leaf in jax.tree.leaves(NETWORK)) == 1211


def in_numpy(network, seeds):
    """Moves of PARAMS at each step, as the paper's appendix tells it."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    decays = np.array([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])
    leaves = [np.asarray(x, float) for x in PARAMS["layers"]]
    momenta = [np.zeros((*x.shape, 6)) for x in leaves]
    memory = [np.zeros((*x.shape, 8)) for x in leaves]
    cell, moves = jax.tree.map(lambda x: np.asarray(x, float), network.cell), []
    for step, seed in enumerate(seeds):
        said = []
        for i, g in enumerate(np.asarray(x, float) for x in gradients(seed)["layers"]):
            momenta[i] = decays * momenta[i] + (1 - decays) * g[..., None]
            own = [leaves[i][..., None], np.sign(momenta[i]), np.log(np.abs(momenta[i]) + 1e-13)]
            own += [np.sign(g)[..., None], np.log(np.abs(g) + 1e-13)[..., None]]
            own = np.concatenate(own, -1)
            own = own / np.sqrt(1e-5 + np.mean(own**2, axis=tuple(range(g.ndim)), keepdims=True))
            training = [0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5, 1][step]
            batch = [0, 0, 1, 1, 0, 0, 1, 1, 0][step]
            active = np.broadcast_to(DORMANCY["layers"][i], g.shape)[..., None]
            rest = [np.full((*g.shape, 1), value) for value in (training, i, batch)]
            x = np.concatenate([own, *rest, active], -1)
            assert x.shape[-1] == 19
            inputs = np.split(x @ cell.weight_ih.T + cell.bias, 3, -1)
            held = np.split(memory[i] @ cell.weight_hh.T, 3, -1)
            reset, keep = sigmoid(inputs[0] + held[0]), sigmoid(inputs[1] + held[1])
            new = np.tanh(inputs[2] + reset * (held[2] + cell.bias_n))
            memory[i] = h = (1 - keep) * new + keep * memory[i]
            for layer in network.layers[:-1]:
                h = h @ np.asarray(layer.weight).T + np.asarray(layer.bias)
                h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)
                h = np.maximum(h, 0)
            o = h @ np.asarray(network.layers[-1].weight).T + np.asarray(network.layers[-1].bias)
            said.append(1e-3 * o[..., 0] * np.exp(1e-3 * o[..., 1]))
        mean = np.concatenate([s.ravel() for s in said]).mean()
        moves.append([mean - s for s in said])
        leaves = [x + m for x, m in zip(leaves, moves[-1], strict=True)]
    return moves


def test_its_updates_are_those_of_plain_numpy():
    network = quiet(NETWORK)
    rule = learned_transformation(network, SCHEDULE, jax.random.key(1))
    update = jax.jit(rule.update)
    state, params = rule.init(PARAMS), PARAMS
    for step, expected in enumerate(in_numpy(network, range(9))):
        updates, state = update(gradients(step), state, params, dormancy=DORMANCY)
        for found, move in zip(updates["layers"], expected, strict=True):
            np.testing.assert_allclose(found, move, rtol=1e-3, atol=1e-8)
        params = jax.tree.map(lambda p, u: p + u, params, updates)


def test_layers_are_told_apart_by_their_depth_and_value_functions_do_not_explore():
    agent = build_agent(jax.random.key(0), envs.make("reacher"), (8, 4), memory="gru")
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_flatten_with_path(agent)[0]]
    found = dict(zip(paths, places(agent), strict=True))
    depth = [found[f".actor.network.weights[{i}]"].layer for i in range(3)]
    assert depth == [0.0, 0.5, 1.0]
    assert found[".actor.log_std"].layer == 1.0
    assert found[".actor.body.memory.cell.weight_ih"].layer == 0.0
    assert all(place.explores == path.startswith(".actor") for path, place in found.items())


def test_what_is_set_stays_and_only_policies_are_given_noise():
    agent = build_agent(
        jax.random.key(0), envs.make("reacher"), (4,), context_size=2, normalise_obs=True
    )
    gradient = jax.tree.map(jnp.ones_like, agent)

    @jax.jit
    def move(key):
        rule = learned_transformation(NETWORK, SCHEDULE, key)
        return rule.update(gradient, rule.init(agent), agent)[0]

    one, other = move(jax.random.key(1)), move(jax.random.key(2))
    for update in (one, other):
        for body in (update.actor.body, update.critic.body):
            assert all(not np.any(leaf) for leaf in jax.tree.leaves(body))
    # The mean over all parameters, the policy's with their noise, is taken from each.
    apart = jax.tree.map(lambda a, b: a - b, one, other)
    critic = jnp.concatenate([x.ravel() for x in jax.tree.leaves(apart.critic.network)])
    actor = jnp.concatenate([x.ravel() for x in jax.tree.leaves(apart.actor.network)])
    assert np.ptp(critic) < 1e-8
    assert np.std(actor) > 1e-5
    everything = jax.tree.leaves((one.actor.network, one.actor.log_std, one.critic.network))
    assert abs(sum(float(x.sum()) for x in everything)) < 1e-5


@pytest.mark.parametrize("shape", [OptimiserShape(), OptimiserShape(memory=4, hidden=6)])
def test_what_is_read_moves_parameters_as_what_was_written_did(tmp_path, shape):
    network = LearnedOptimiser(shape, key=jax.random.key(3))
    read = load_learned(publish_learned(tmp_path / "optimiser", network, {"seed": 3}))
    moved = []
    for each in (network, read):
        rule = learned_transformation(each, SCHEDULE, jax.random.key(1))
        params, state = PARAMS, optimise.begin(rule, PARAMS)
        for step in range(3):
            params, state = optimise.step(rule, gradients(step), state, params)
        moved.append(params)
    jax.tree.map(np.testing.assert_array_equal, *moved)
    assert np.any(moved[0]["layers"][0] != PARAMS["layers"][0])


def test_what_is_no_optimiser_is_refused(tmp_path):
    with pytest.raises(PublishedFileError, match="there is no"):
        load_learned(tmp_path / "nowhere")
    agent = build_agent(jax.random.key(0), envs.make("reacher"), (8,))
    with pytest.raises(PublishedFileError, match="a metarlhf agent, neither"):
        load_learned(publish_agent(tmp_path / "agent", agent, "reacher"))
    folder = publish_learned(tmp_path / "optimiser", NETWORK)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(PublishedFileError, match="truncated or was changed"):
        load_learned(folder)


def test_it_asks_for_the_parameters():
    rule = learned_transformation(NETWORK, SCHEDULE, jax.random.key(1))
    with pytest.raises(ValueError, match="give update its params"):
        rule.update(gradients(0), rule.init(PARAMS))
