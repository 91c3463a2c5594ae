"""ANIL, E-MAML and Reptile, each by a computation of its own."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.tabular import (
    HORIZON,
    STEP_SIZE,
    Tabular,
    draw,
    exact_return,
    flat,
    log_probs,
    samples_of,
)
from metarlhf import envs
from metarlhf.meta import inner, outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import InnerLoop, gradient_step, play_and_adapt
from metarlhf.meta.objective import collected, meta_loss, standardised_returns
from metarlhf.meta.prior import GradientShape, load_prior
from metarlhf.meta.update_rules import LearnedRule, update_rule
from metarlhf.networks import load_agent, publish_agent
from metarlhf.sampling import CompiledTaskSampler
from tests.same import assert_same, differ

FAMILY = envs.make("navigation")
SAMPLER = CompiledTaskSampler(FAMILY)
CONFIG = MetaRLConfig(inner_steps=2, meta_batch=3, episodes=3, hidden=(5,), inner_lr=0.5)
TASKS = jnp.array([[0.3, 0.1], [-0.2, 0.4], [0.1, -0.5]])


def begun(config):
    """A state, and the inner loops that it plays."""
    state = outer.init(jax.random.key(0), FAMILY, config)

    @jax.jit
    def loop():
        agents = jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), state.agent)
        return play_and_adapt(
            jax.random.key(1), SAMPLER, TASKS, agents, state.rule, config, config.inner_steps
        )

    return state, loop()


def head(actor):
    return actor.network.weights[-1], actor.network.biases[-1], actor.log_std


def filled(fill):
    return partial(jax.tree.map, fill)


def below(actor):
    return *actor.network.weights[:-1], *actor.network.biases[:-1]


class TestANIL:
    """Almost no inner loop: the head adapts, what is below it is meta-learned."""

    CONFIG = replace(CONFIG, adapts="head", learn_offset=True)

    def test_inner_steps_move_the_head_alone(self):
        state, loop = begun(self.CONFIG)
        rule = jax.tree.map(lambda x: x + 1.0, state.rule)  # with an offset that is felt
        agents = jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), state.agent)
        loop = jax.jit(
            lambda: play_and_adapt(jax.random.key(1), SAMPLER, TASKS, agents, rule, self.CONFIG, 2)
        )()
        first, *rest = (jax.tree.map(lambda x: x[i], loop.agents.actor) for i in range(3))
        for later in rest:
            assert_same(below(first), below(later))
            for one, other in zip(head(first), head(later), strict=True):
                assert differ(one, other)

    def test_nothing_is_learned_of_steps_that_are_not_taken(self):
        rule = outer.init(jax.random.key(0), FAMILY, self.CONFIG).rule
        for part in (rule.multiples, rule.offset):
            assert jax.tree.leaves(below(part)) == []
            assert all(leaf.shape[0] == 2 for leaf in head(part))

    def test_a_step_of_the_head_is_that_of_the_whole_policy(self):
        state, loop = begun(replace(CONFIG, learn_inner_lr="none"))
        support = jax.tree.map(lambda x: x[0, 0], loop.support)
        whole, part = (
            gradient_step(state.agent, rule.init(None), support, rule, config)[0].actor
            for config in (replace(CONFIG, adapts="policy"), replace(CONFIG, adapts="head"))
            for rule in [update_rule(LearnedRule(None, None), config)]
        )
        for one, other in zip(head(whole), head(part), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert differ(below(whole), below(part))

    def test_a_prior_survives_a_round_trip(self, tmp_path):
        shape = GradientShape(FAMILY.name, replace(self.CONFIG, normalise_obs=True))
        prior = shape.blank(jax.random.key(0))
        found = load_prior(prior.save(tmp_path))
        assert_same(prior, found)
        assert found.shape == shape

    def test_an_outer_step_moves_all(self):
        state, loop = begun(self.CONFIG)
        after, _ = jax.jit(outer.learn, static_argnums=2)(state, loop, self.CONFIG)
        for part in (below, head):
            assert differ(part(state.agent.actor), part(after.agent.actor))


class TestCAVIA:
    """The context adapts, and all else is one policy for all tasks."""

    CONFIG = replace(CONFIG, adapts="context", context_size=3, inner_lr=1.0)

    def test_inner_steps_move_the_context_alone(self):
        _, loop = begun(self.CONFIG)
        untold = lambda actor: eqx.tree_at(lambda a: a.body.context, actor, None)
        first, *rest = (jax.tree.map(lambda x: x[i], loop.agents.actor) for i in range(3))
        assert first.body.context.shape == (3, 3)  # of each task
        for later in rest:
            assert_same(untold(first), untold(later))
            assert differ(first.body.context, later.body.context)

    def test_an_outer_step_moves_all(self):
        state, loop = begun(self.CONFIG)
        after, _ = jax.jit(outer.learn, static_argnums=2)(state, loop, self.CONFIG)
        assert differ(below(state.agent.actor), below(after.agent.actor))
        assert differ(state.rule.multiples, after.rule.multiples)
        assert differ(state.agent.actor.context, after.agent.actor.context)

    def test_a_prior_survives_a_round_trip(self, tmp_path):
        shape = GradientShape(FAMILY.name, self.CONFIG)
        prior = shape.blank(jax.random.key(0))
        found = load_prior(prior.save(tmp_path))
        assert_same(prior, found)
        assert found.shape == shape

    def test_an_agent_survives_a_round_trip_as_one_that_learns_its_context(self, tmp_path):
        agent = inner.new_agent(jax.random.key(0), FAMILY, self.CONFIG)
        found = load_agent(publish_agent(tmp_path, agent, FAMILY.name))
        assert_same(agent, found)
        assert found.actor.body.learns_context
        outer.init(jax.random.key(1), FAMILY, self.CONFIG, found)
        untold = inner.new_agent(jax.random.key(0), FAMILY, CONFIG)
        with pytest.raises(ValueError, match="no context that learns"):
            outer.init(jax.random.key(1), FAMILY, self.CONFIG, untold)

    def test_what_would_do_nothing_is_refused(self):
        with pytest.raises(ValueError, match="context_size is for adapts context"):
            replace(CONFIG, context_size=3)
        with pytest.raises(ValueError, match="advice_std is for method guided"):
            replace(CONFIG, advice_std=0.3)

    def test_there_is_a_context(self):
        with pytest.raises(ValueError, match="context_size must be at least 1"):
            replace(self.CONFIG, context_size=0)


@pytest.mark.parametrize(
    "chosen", [{"adapts": "head"}, {"adapts": "context"}, {"method": "e-maml"}, {}]
)
def test_the_meta_gradient_of_the_initialisation_equals_finite_differences(chosen):
    """Of all parameters of the policy, through two inner steps, in double precision."""
    with jax.enable_x64(True):
        config = replace(CONFIG, **chosen)
        double = partial(
            jax.tree.map, lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x
        )
        state, loop = begun(config)
        (agent, rule), loop = double((state.agent, state.rule)), double(loop)

        @jax.jit
        def loss(actor):
            moved = eqx.tree_at(lambda a: a.actor, agent, actor)
            return meta_loss((moved, rule), collected(loop, config), jnp.full(2, 1e-3), config)[0]

        gradient = jax.grad(loss)(agent.actor)
        for part in (head, below):
            nothing = jax.tree.map(jnp.zeros_like, agent.actor)
            mask = eqx.tree_at(part, nothing, replace_fn=filled(jnp.ones_like))
            direction = jax.tree.map(
                lambda x, m: m * jax.random.normal(jax.random.key(x.size), x.shape, x.dtype),
                agent.actor,
                mask,
            )
            at = lambda size: loss(jax.tree.map(lambda x, d: x + size * d, agent.actor, direction))
            measured = (at(1e-5) - at(-1e-5)) / 2e-5
            products = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
            assert abs(measured) > 1e-4
            np.testing.assert_allclose(sum(jax.tree.leaves(products)), measured, rtol=1e-4)


class TestEMAML:
    """Credit to what was sampled before adaptation."""

    def test_it_has_the_exact_meta_gradient_of_adapting_to_one_episode(self):
        """Of sum_i p(episode i) J(adapted to episode i), enumerated: a task for each episode.

        Under a uniform policy all eight are as likely, and a mean over them is what is expected.
        """
        family = Tabular()
        agent, task = draw(family, 0)
        agent = eqx.tree_at(lambda a: a.actor, agent, replace_fn=filled(jnp.zeros_like))
        support = jax.vmap(partial(samples_of, family, agent.actor, task))(jnp.eye(8))
        config = MetaRLConfig(
            method="e-maml", inner_lr=STEP_SIZE, learn_inner_lr="none", kl_coefficient=0.0,
            hidden=(), clip=100.0,
        )  # fmt: skip
        rule = update_rule(LearnedRule(None, None), config)

        def adapted(actor, samples):
            adapting = eqx.tree_at(lambda a: a.actor, agent, actor)
            return gradient_step(adapting, rule.init(None), samples, rule, config)[0].actor

        actors = jax.vmap(partial(adapted, agent.actor))(support)
        came = jax.vmap(lambda actor: exact_return(family, actor, task))(actors)
        query = jax.vmap(lambda actor: samples_of(family, actor, task))(actors)
        query = replace(query, value_target=jnp.broadcast_to(came[:, None, None], (8, 8, HORIZON)))
        lead = lambda tree: jax.tree.map(lambda x: x[None], tree)
        loop = InnerLoop(agent, lead(support), lead(query), jnp.zeros((2, 1, 1)))

        @jax.grad
        def exact(actor):
            """Differentiated by hand of the inner step, as advantages are constants."""

            def after(samples):
                def log_likelihood(actor):
                    log_prob = actor(samples.obs)[0].log_prob(samples.action)
                    return jnp.mean(log_prob * samples.advantage)

                step = jax.grad(log_likelihood)(actor)
                moved = jax.tree.map(lambda p, g: p + STEP_SIZE * g, actor, step)
                return exact_return(family, moved, task)

            probability = jnp.exp(log_probs(family, actor, task).sum(-1))
            return jnp.sum(probability * jax.vmap(after)(support))

        # Returns are standardised, and log-probabilities averaged over time.
        config = replace(config, exploration_coefficient=float(HORIZON * came.std()))
        rest = (collected(loop, config), jnp.zeros(1))

        def of(config):
            loss = lambda agent: meta_loss((agent, LearnedRule(None, None)), *rest, config)[0]
            return -flat(jax.grad(loss)(agent).actor)

        expected = flat(exact(agent.actor))
        np.testing.assert_allclose(of(config), expected, atol=1e-5)
        missed = np.linalg.norm(of(replace(config, method="maml")) - expected)
        assert missed > 0.1 * np.linalg.norm(expected)

    def test_each_step_is_credited_with_what_came_after_it(self):
        _, loop = begun(CONFIG)
        returns = np.asarray(loop.query.value_target[..., 0]).mean(-1)
        standard = lambda x: (x - x.mean()) / x.std()
        last = standardised_returns(loop.query, CONFIG)
        for step in range(2):
            np.testing.assert_allclose(last[step], standard(returns[1]), rtol=1e-4)
        every = standardised_returns(loop.query, replace(CONFIG, judge_every_step=True))
        np.testing.assert_allclose(every[0], standard(returns.mean(0)), rtol=1e-4)
        np.testing.assert_allclose(every[1], standard(returns[1]), rtol=1e-4)

    def test_every_step_has_credit_for_what_came_after_the_last(self):
        """Of two steps whose last alone is judged, the first explored too."""
        config = replace(CONFIG, method="e-maml")
        state, loop = begun(config)
        data = collected(loop, config)
        assert len(data.came_of_it) == 2

        @jax.jit
        def of_all(came):
            credited = data._replace(came_of_it=came)
            of = lambda agent: meta_loss((agent, state.rule), credited, jnp.zeros(2), config)[0]
            return jax.grad(of)(state.agent).actor

        gradient = lambda came: flat(of_all(came))

        plain = gradient(data.came_of_it)
        more = [gradient(data.came_of_it.at[step, 0].add(1.0)) - plain for step in range(2)]
        of_first, of_last = (np.linalg.norm(each) for each in more)
        assert 0.2 * of_last < of_first < 5 * of_last


class TestReptile:
    """No meta-gradient."""

    CONFIG = replace(
        CONFIG, method="reptile", learn_inner_lr="none", reptile_step=0.3, iterations=10
    )

    @pytest.mark.parametrize(("anneal", "part"), [(False, 0.3), (True, 0.3 * 0.6)])
    def test_the_policy_moves_by_the_mean_displacement(self, anneal, part):
        """Of policies that are adapted anew, one task and one step at a time."""
        config = replace(self.CONFIG, anneal_lr=anneal)
        state, loop = begun(config)
        state = replace(state, iteration=jnp.array(4))
        rule = update_rule(LearnedRule(None, None), config)
        displacements = []
        for task in range(3):
            agent = state.agent
            for step in range(2):
                support = jax.tree.map(lambda x: x[step, task], loop.support)
                agent, _ = gradient_step(agent, rule.init(None), support, rule, config)
            displacements.append(jax.tree.map(lambda a, b: a - b, agent.actor, state.agent.actor))
        after, metrics = jax.jit(outer.learn, static_argnums=2)(state, loop, config)
        mean = jax.tree.map(lambda *each: sum(each) / 3, *displacements)
        expected = jax.tree.map(lambda p, d: p + part * d, state.agent.actor, mean)
        for one, other in zip(
            jax.tree.leaves(after.agent.actor), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            float(metrics["moved"]), part * np.linalg.norm(flat(mean)), rtol=1e-3
        )
        assert differ(state.agent.critic, after.agent.critic)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"learn_inner_lr": "tensor"}, "choose learn_inner_lr none"),
            ({"learn_offset": True}, "no learn_offset"),
            ({"outer_step": "trpo"}, "no gradient for trpo to follow"),
            ({"reptile_step": 0.0}, "reptile_step must be above 0"),
            ({"adapts": "head"}, "all else would stay random"),
            ({"adapts": "context"}, "all else would stay random"),
        ],
    )
    def test_what_it_cannot_learn_is_refused(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            replace(self.CONFIG, **wrong)
