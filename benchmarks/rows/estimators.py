"""Meta-gradient estimators against the exact meta-gradient of a tabular MDP.

Three states, two actions, three steps: every trajectory is enumerated, so that the gradient of what
an agent is paid after one inner step is known exactly (`benchmarks.tabular`). Each estimator makes
the inner step from sampled episodes, advantages being what was paid less the exact value; what its
adapted policy is paid is exact, so all that differs is the inner loss. Ten policies and tasks, 400
draws of the episodes each.

Figures are the cosine of an estimate from 100,000 episodes with the exact gradient; the bias there,
in units of the exact gradient's length; and in the same units the standard deviation of an estimate
from 20 episodes, as a task has in meta-training. Means over problems, 95 % intervals over them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.harness import Result
from benchmarks.tabular import (
    STEP_SIZE,
    Tabular,
    draw,
    exact_meta_gradient,
    exact_return,
    log_probs,
    samples_of,
)
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import gradient_step
from metarlhf.statistics import mean_interval

ROW = "estimators"
PROBLEMS, DRAWS = 10, 400
FEW, MANY = 20, 100_000
FAMILY = Tabular()
ESTIMATORS = {
    "log-prob": {"estimator": "log-prob"},
    "ratio (LVC)": {"estimator": "ratio"},
    "loaded-dice, decay 0.5": {"estimator": "loaded-dice", "gae_lambda": 0.5},
    "loaded-dice, decay 1": {"estimator": "loaded-dice", "gae_lambda": 1.0},
    "dice": {"estimator": "dice"},
    "first order": {"method": "fomaml"},
}


def measure(options):
    """A figure for each estimator and number of episodes."""
    problems, draws = (3, 50) if options.quick else (options.seeds or PROBLEMS, DRAWS)
    for name, chosen in ESTIMATORS.items():
        config = MetaRLConfig(inner_lr=STEP_SIZE, learn_inner_lr="none", hidden=(), **chosen)
        few, many = (
            [judged(seed, config, episodes, draws) for seed in range(problems)]
            for episodes in (FEW, MANY)
        )
        figures = {
            "cosine": ([one.cosine for one in many], "higher"),
            "bias": ([one.bias for one in many], "lower"),
            f"standard deviation, {FEW} episodes": ([one.deviation for one in few], "lower"),
        }
        for figure, (values, better) in figures.items():
            interval = mean_interval(np.array(values))
            yield Result.of(
                ROW,
                f"{name}, {figure}",
                interval,
                better=better,
                must=0.99 if (name, figure) == ("dice", "cosine") else None,
                seeds=tuple(range(problems)),
            )


class Judged(NamedTuple):
    """Of one problem: mean cosine of an estimate, and what is in lengths of the exact gradient."""

    cosine: float
    bias: float
    deviation: float


def judged(seed, config, episodes, draws):
    """An estimator from so many episodes, drawn `draws` times."""
    agent, task = draw(FAMILY, seed)
    exact = exact_meta_gradient(FAMILY, agent.actor, task)
    probability = np.exp(np.asarray(log_probs(FAMILY, agent.actor, task), np.float64).sum(-1))
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(episodes, probability / probability.sum(), size=draws)
    found = np.asarray(_estimates(agent, task, jnp.asarray(counts, jnp.float32), config))
    length, lengths = np.linalg.norm(exact), np.linalg.norm(found, axis=1)
    cosine = found @ exact / (length * np.maximum(lengths, 1e-12))
    spread = np.sqrt(np.mean(np.sum((found - found.mean(0)) ** 2, axis=1)))
    bias = np.linalg.norm(found.mean(0) - exact)
    return Judged(cosine.mean(), bias / length, spread / length)


@partial(jax.jit, static_argnames="config")
def _estimates(agent, task, counts, config):
    """Meta-gradients, one for each row of `counts`."""
    rule = optax.sgd(config.inner_lr)

    def adapted_return(actor, support):
        adapting = type(agent)(actor, agent.critic)
        adapted, _ = gradient_step(adapting, rule.init(actor), support, rule, config)
        return exact_return(FAMILY, adapted.actor, task)

    def estimate(row):
        support = samples_of(FAMILY, agent.actor, task, row)
        gradient = jax.grad(adapted_return)(agent.actor, support)
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(gradient)])

    return jax.vmap(estimate)(counts)
