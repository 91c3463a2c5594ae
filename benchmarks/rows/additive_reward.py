"""RLHF from scratch with an additive reward model beside the plain one, the same otherwise.

The return is what was gained over the untrained agent, as a share of what the plain model gained.
The true reward is additive in none of the library's families: in navigation a distance ties x to y,
in reacher likewise, in pendulum an angle ties its cosine to its sine. So shapes are compared where
it is: in navigation by streets, where distance goes along x and along y, and is paid for where a
step begins, as learned rewards do. The correlation is that of each coordinate's curve with the true
one over the steps of the clips that were compared, so as often seen as asked about: the worse of
both coordinates. Beside it, in the details, the same over the steps of the agent's last clips, of
which nearly all lie about the goal.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.few_shot import FAMILIES, Plan
from benchmarks.harness import Result, Stopwatch
from metarlhf import envs, rlhf
from metarlhf.envs import Navigation
from metarlhf.meta.tasks import count_of, held_out_tasks
from metarlhf.reward import EnsembleConfig
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import evaluate
from metarlhf.statistics import mean_interval

ROW = "additive-reward"
TASKS, STREETS = 4, "navigation by streets"
PLAIN = EnsembleConfig()
ADDITIVE = EnsembleConfig(network="additive", hidden=(32,))


class Streets(Navigation):
    """Navigation, paid by the way along both axes to the goal, where it plays on."""

    def __init__(self):
        super().__init__(terminates=False)
        self.name, self.reward_bounds = STREETS, (-2.0, 0.0)

    def without_termination(self):
        return self

    def reward(self, obs, action, next_obs, task):
        return -jnp.sum(jnp.abs(obs - task))


def measure(options):
    """A return for each family, and for streets how well the curves are found."""
    plan = Plan.of(options)
    count = min(TASKS, plan.num_tasks)
    for name in (*FAMILIES, STREETS):
        family = Streets() if name == STREETS else envs.make(name)
        config = plan.preset(name.split()[0]).few_steps
        tasks = held_out_tasks(family, count)
        watch = Stopwatch()
        plain, _ = learn(family, tasks, config, PLAIN)
        (before, after), states = learn(family, tasks, config, ADDITIVE)
        print(f"  {name}: {count} tasks, each twice, in {watch.seconds:.0f} s", flush=True)
        gained = (after - before) / (plain[1] - plain[0])
        interval = mean_interval(gained)
        yield Result(
            ROW,
            f"{name}, return",
            float((after - before).mean() / (plain[1] - plain[0]).mean()),
            must=0.95,
            seeds=tuple(range(count)),
            details={
                "tasks": count,
                "labels": config.labels,
                "return_untrained": float(before.mean()),
                "return_plain": float(plain[1].mean()),
                "return_additive": float(after.mean()),
                "mean_of_ratios": interval._asdict(),
                "by_task": gained.round(4).tolist(),
            },
        )
        if name == STREETS:
            said = states.answers.feedback.comparisons
            asked = jax.tree.map(lambda *x: jnp.concatenate(x, 1), said.left, said.right)
            found = curves(states, tasks, asked)
            late = curves(states, tasks, states.candidates.clips)
            interval = mean_interval(found)
            yield Result.of(
                ROW,
                f"{name}, correlation of curves",
                interval,
                must=0.95,
                seeds=tuple(range(count)),
                details={
                    "tasks": count,
                    "by_task": found.round(4).tolist(),
                    "over_the_last_clips": late.round(4).tolist(),
                },
            )


def learn(family, tasks, config, ensemble):
    """Every task from scratch: returns before and after, and where it ended."""
    count = count_of(tasks)
    keys = jax.random.split(jax.random.key(0), count)
    learning = family.without_termination()

    @jax.jit
    @jax.vmap
    def start(key, task):
        return rlhf.from_scratch(
            key, CompiledSampler(learning, task, config.ppo.num_envs), config, ensemble
        )

    @jax.jit
    @jax.vmap
    def ask_and_learn(state, task):
        return rlhf.run_round(state, CompiledSampler(learning, task, config.ppo.num_envs), config)[
            0
        ]

    @jax.jit
    @jax.vmap
    def practise(state, task):
        return rlhf.optimise_policy(
            state,
            CompiledSampler(learning, task, config.ppo.num_envs),
            config,
            config.final_updates,
        )[0]

    @jax.jit
    @jax.vmap
    def returns(state, task):
        return evaluate(jax.random.key(1), family, task, state.ppo.agent.actor, 8).mean()

    state = start(keys, tasks)
    before = np.asarray(returns(state, tasks))
    for _ in range(config.rounds):
        state = ask_and_learn(state, tasks)
    state = practise(state, tasks)
    return (before, np.asarray(returns(state, tasks))), state


def curves(states, goals, clips):
    """For each task the worse of both coordinates' correlations, over these clips."""
    parts = jax.jit(jax.vmap(jax.vmap(lambda network, x: network.parts(x), (0, None)), (0, 0)))
    x = jnp.concatenate([clips.obs, clips.action], axis=-1)
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    learned = np.asarray(parts(states.belief.models.network, x)).mean(1)
    true = -np.abs(np.asarray(x)[..., :2] - np.asarray(goals)[:, None])
    correlation = lambda one, other: np.corrcoef(one, other)[0, 1]
    return np.array([
        min(correlation(learned[i, :, j], true[i, :, j]) for j in (0, 1))
        for i in range(len(learned))
    ])  # fmt: skip
