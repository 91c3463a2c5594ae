"""Adam, and a learned network, in the inner loop: what they do there, and what is learned of it."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarlhf import envs
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import inner_loss, play_and_adapt
from metarlhf.meta.objective import collected, meta_loss
from metarlhf.meta.presets import by_gradient
from metarlhf.meta.prior import GradientShape, load_prior
from metarlhf.meta.update_rules import split
from metarlhf.sampling import CompiledTaskSampler
from tests.same import AS_FOR_USERS, assert_same, differ

FAMILY = envs.make("navigation")
SAMPLER = CompiledTaskSampler(FAMILY)
SGD = MetaRLConfig(
    inner_steps=2, meta_batch=3, episodes=3, hidden=(5,), inner_lr=0.5, learn_inner_lr="none"
)
ADAM, LEARNED = replace(SGD, inner_rule="adam", inner_lr=0.05), replace(SGD, inner_rule="learned")
TASKS = jnp.array([[0.3, 0.1], [-0.2, 0.4], [0.1, -0.5]])
every_rule = pytest.mark.parametrize("config", [ADAM, LEARNED], ids=["adam", "learned"])


def begun(config, spoken=None):
    """A state, and the inner loops that it plays; a network's last layer is `spoken`."""
    state = outer.init(jax.random.key(0), FAMILY, config)
    if spoken is not None:
        state = eqx.tree_at(lambda s: s.rule.network.layers[-1].weight, state, spoken)

    @partial(jax.jit, compiler_options=AS_FOR_USERS)
    def loop(state):
        agents = jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), state.agent)
        return play_and_adapt(
            jax.random.key(1), SAMPLER, TASKS, agents, state.rule, config, config.inner_steps
        )

    return state, loop(state)


SPOKEN = 0.3 * jax.random.normal(jax.random.key(4), (3, 16))


def gradient_of(config, state, loop):
    loss = lambda learned: meta_loss(learned, collected(loop, config), jnp.full(2, 1e-3), config)[0]
    return jax.jit(jax.grad(loss))((state.agent, state.rule))


def test_a_learned_rule_begins_as_gradient_descent_and_so_does_its_meta_gradient():
    found, loops = zip(*map(begun, (SGD, LEARNED)), strict=True)
    assert_same(loops[0].agents, loops[1].agents)
    ours, theirs = (
        gradient_of(*each)[0].actor for each in zip((SGD, LEARNED), found, loops, strict=True)
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7), ours, theirs)


@every_rule
@pytest.mark.parametrize("adapts", ["policy", "head", "context"])
def test_every_rule_moves_what_adapts_and_nothing_else(config, adapts):
    config = replace(config, adapts=adapts)
    _, loop = begun(config, SPOKEN if config.inner_rule == "learned" else None)
    first, last = (jax.tree.map(lambda x: x[i], loop.agents.actor) for i in (0, -1))
    (moved, kept), (after, still) = (split(actor, config) for actor in (first, last))
    assert_same(kept, still)
    for one, other in zip(jax.tree.leaves(moved), jax.tree.leaves(after), strict=True):
        assert one.size == 0 or differ(one, other)


@pytest.mark.parametrize("adapts", ["policy", "head", "context"])
def test_an_inner_step_with_adam_is_adams(adapts):
    config = replace(ADAM, adapts=adapts)
    _, loop = begun(config)
    for task in range(3):
        actor = jax.tree.map(lambda x: x[0, task], loop.agents.actor)
        # A root of zero has no derivative: the rule's has a little added, which counts where a
        # gradient is next to nothing.
        adam, state = optax.adam(config.inner_lr, eps_root=1e-16), None
        for step in range(2):
            moved, kept = split(actor, config)
            support = jax.tree.map(lambda x: x[step, task], loop.support)
            loss = lambda moved: inner_loss(
                eqx.combine(moved, kept)(support.obs)[0], support, config
            )
            state = adam.init(moved) if state is None else state
            updates, state = adam.update(jax.grad(loss)(moved), state)
            actor = eqx.combine(jax.tree.map(jnp.add, moved, updates), kept)
            found = jax.tree.map(lambda x: x[step + 1, task], loop.agents.actor)
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), found, actor)


@every_rule
def test_only_the_head_moves_where_nothing_else_is_to(config):
    _, loop = begun(replace(config, adapts="head"), SPOKEN if config is LEARNED else None)
    first, last = (jax.tree.map(lambda x: x[i], loop.agents.actor) for i in (0, -1))
    assert_same(first.network.weights[0], last.network.weights[0])
    assert differ(first.network.weights[-1], last.network.weights[-1])


@pytest.mark.parametrize("method", ["promp", "fomaml"])
def test_the_meta_gradient_of_the_network_equals_finite_differences(method):
    """One inner step: what the network sees does not hang on its weights. In double precision."""
    with jax.enable_x64(True):
        config = replace(LEARNED, method=method, inner_steps=1)
        double = partial(
            jax.tree.map, lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x
        )
        state, loop = begun(config, SPOKEN.astype(jnp.float32))
        agent, rule, loop = double(state.agent), double(state.rule), double(loop)
        rest = (collected(loop, config), jnp.full(1, 1e-3), config)
        loss = jax.jit(lambda rule: meta_loss((agent, rule), *rest)[0])
        gradient = jax.grad(loss)(rule)
        direction = jax.tree.map(
            lambda x: jax.random.normal(jax.random.key(x.size), x.shape, x.dtype), rule
        )
        moved = lambda size: jax.tree.map(lambda x, d: x + size * d, rule, direction)
        measured = (loss(moved(1e-6)) - loss(moved(-1e-6))) / 2e-6
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
        assert abs(measured) > 1e-4
        np.testing.assert_allclose(sum(jax.tree.leaves(products)), measured, rtol=1e-4)


@every_rule
@pytest.mark.parametrize("outer_step", ["adam", "trpo"])
def test_a_meta_update_moves_all_that_is_learned(config, outer_step):
    config = replace(config, outer_step=outer_step)
    state, loop = begun(config)
    after, _ = jax.jit(outer.learn, static_argnums=2)(state, loop, config)
    assert differ(state.agent.actor, after.agent.actor)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.agent, after.rule)))
    if config.inner_rule == "learned":
        speaks = lambda state: state.rule.network.layers[-1].weight[:2]
        assert differ(speaks(state), speaks(after))
    else:
        assert jax.tree.leaves(after.rule) == []


@every_rule
@pytest.mark.parametrize("adapts", ["policy", "head", "context"])
def test_a_prior_survives_a_round_trip(config, adapts, tmp_path):
    shape = GradientShape(FAMILY.name, replace(config, adapts=adapts, learn_offset=True))
    prior = shape.blank(jax.random.key(0))
    found = load_prior(prior.save(tmp_path))
    assert_same(prior, found)
    assert found.shape == shape
    assert (found.rule.network is not None) == (config is LEARNED)


@every_rule
def test_memory_is_bounded_in_the_number_of_inner_steps(config):
    """Of a whole meta-iteration, as the compiler plans it."""

    def planned(steps):
        some = replace(config, inner_steps=steps, episodes=10, hidden=(32, 32))
        state = jax.eval_shape(lambda: outer.init(jax.random.key(0), FAMILY, some))
        iterate = jax.jit(lambda state: outer.meta_iterate(state, SAMPLER, some))
        return iterate.lower(state).compile().memory_analysis().temp_size_in_bytes

    assert planned(10) < 3 * planned(1)


@pytest.mark.parametrize("learned", ["tensor", "parameter"])
@pytest.mark.parametrize("rule", ["adam", "learned"])
def test_step_sizes_are_learned_for_gradient_descent_alone(rule, learned):
    with pytest.raises(ValueError, match=f"learn_inner_lr {learned} is for inner_rule sgd: {rule}"):
        MetaRLConfig(inner_rule=rule, learn_inner_lr=learned)


def test_reptile_learns_no_rule_but_may_use_adam():
    with pytest.raises(ValueError, match="nothing to learn step sizes, offsets or a rule by"):
        replace(LEARNED, method="reptile")
    _, loop = begun(replace(ADAM, method="reptile"))
    assert np.isfinite(loop.returns).all()


@pytest.mark.parametrize("method", ["promp", "reptile"])
def test_presets_follow_the_rule(method):
    sgd, adam = (by_gradient("navigation", method, inner_rule=r).policy for r in ("sgd", "adam"))
    assert adam.inner_rule == "adam"
    assert adam.learn_inner_lr == "none"
    assert adam.inner_lr < sgd.inner_lr
