"""`metarlhf search`: meta-train how PPO learns, an optimiser or a drift, by evolution."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from metarlhf import contrib, envs, files, runs
from metarlhf.cli.options import TrainOptions
from metarlhf.cli.parsing import parse, words_for
from metarlhf.cli.ppo import ADAMS
from metarlhf.cli.runs import open_run, say, show
from metarlhf.contrib.config import EvolutionConfig, ImitationConfig
from metarlhf.errors import UserError
from metarlhf.meta.presets import preset
from metarlhf.ppo import PPOConfig
from metarlhf.ppo.presets import SEARCHED


@dataclass(frozen=True)
class Search(TrainOptions):
    """Meta-train by evolution what takes the place of Adam, or of clipping, in PPO, judged by the
    returns that PPO ends with on tasks of some families.

    A generation is hundreds of trainings at once: two seconds on a large GPU, many minutes on two
    cores.
    """

    FEW: ClassVar = (
        "what", "families", "tasks", "generations", "evolution.population", "evolution.sigma",
        "evolution.lr", "imitation.steps", "ppo.total_steps", "ppo.lr", "ppo.num_envs", "run_dir",
        "seed", "resume", "log",
    )  # fmt: skip

    what: Annotated[Literal["optimiser", "drift"], tyro.conf.Positional] = "optimiser"
    """optimiser: OPEN's, a recurrent network that sees each parameter's gradients; drift: LPO's,
    what a policy pays for moving away from the one that collected."""
    families: tuple[str, ...] = ("navigation", "pendulum")
    """Compiled task families to judge on, each counting the same."""
    tasks: int = 2
    """Tasks of each family in a generation, drawn anew each time."""
    generations: int = 240
    """Times that the population is judged."""
    evolution: EvolutionConfig = field(default_factory=lambda: EvolutionConfig(lr=0.01))
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    ppo: PPOConfig = SEARCHED

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tasks", "generations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        if not self.families or len(set(self.families)) < len(self.families):
            raise ValueError(f"families must be one or more, each once, but are {self.families}")
        if self.imitation.batch < len(self.families):
            raise ValueError(
                f"imitation.batch is {self.imitation.batch}, but parameters of "
                f"{len(self.families)} families have to be in it"
            )
        wanted = "clip" if self.what == "drift" else self.ppo.objective
        if self.ppo.objective != wanted or self.ppo.objective == "trpo":
            raise ValueError(
                f"{self.ppo.objective} leaves nothing for a learned {self.what} to do: leave "
                "ppo.objective at clip"
            )
        if self.ppo.normalise_obs or self.ppo.normalise_reward or self.ppo.memory:
            raise ValueError("searched for is what plain PPO learns by: no scales and no memory")


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Search, argv, "search", lambda said: Search())
    # Before there is a directory: a family that is not there leaves none behind.
    trials = tuple(
        contrib.search.Trial(envs.make_family(n), options.ppo, options.tasks)
        for n in options.families
    )
    with open_run(options, f"search-{options.what}") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _search(options, run, trials)


def _search(
    options: Search, run: runs.RunDirectory, trials: tuple[contrib.search.Trial, ...]
) -> int:
    import jax

    from metarlhf.training import Loop

    config = options.evolution
    say(f"searching for {_a(options.what)} on {', '.join(options.families)}, in {run.path}")
    step = jax.jit(lambda state: contrib.search.generation(state, trials, config))

    def one(state, done):
        state, found = step(state)
        each = {
            f"{name}_{kind}": float(value)
            for kind, values in found.items()
            for name, value in zip(options.families, values, strict=True)
        }
        means = {name: float(values.mean()) for name, values in found.items()}
        return state, means | each

    *beginning_keys, key = jax.random.split(jax.random.key(options.seed), 4)
    begin = lambda: contrib.evolution.init(
        key, _beginning(beginning_keys, options, run, trials), config
    )
    loop = Loop(begin, one, options.generations, unit="generations")
    state = runs.drive(run, f"search of {_a(options.what)}", loop)
    about = {
        "families": list(options.families),
        "tasks": options.tasks,
        "generations": options.generations,
        "seed": options.seed,
        "evolution": asdict(config),
        "imitation": asdict(options.imitation),
        "ppo": asdict(options.ppo),
    }
    folder = contrib.publish_learned(run.path / options.what, state.params, about)
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "search",
            "what": options.what,
            "return": last["return"],
            "plain": last["plain"],
            "learned": str(folder),
        }
    )
    # What says how a training is looked at, or sizes a step that a learned optimiser has not.
    beside = ("evaluate_every", "evaluation_episodes", "patience", "tolerance")
    beside += ADAMS if options.what == "optimiser" else ()
    same = words_for(options.ppo, preset(options.families[0]).oracle, without=beside)
    command = ["metarlhf", "ppo", options.families[0], "--task", "3", "--learned", str(folder)]
    lines = [
        f"The {options.what} is in {folder}. The last generation ended with returns of "
        f"{last['return']:.2f} on average, plain PPO with {last['plain']:.2f}. Use it:",
        f"  {shlex.join([*command, *same])}",
    ]
    return show(result, lines, options.json)


def _a(what: str) -> str:
    return f"an {what}" if what == "optimiser" else f"a {what}"


def _beginning(
    keys: Sequence[Any],
    options: Search,
    run: runs.RunDirectory,
    trials: tuple[contrib.search.Trial, ...],
) -> contrib.LearnedOptimiser | contrib.LearnedDrift:
    """What evolution begins with: made once, and kept in the run."""
    init_key, record_key, study_key = keys
    if options.what == "drift":
        return contrib.LearnedDrift(key=init_key)
    network, folder = contrib.LearnedOptimiser(key=init_key), Path(run.path / "imitation")
    if not options.imitation.steps:
        return network
    if not (folder / files.DESCRIPTION).exists():
        say("learning to do as Adam does, from recorded trainings")
        recorded = contrib.search.recordings(record_key, trials, options.imitation)
        network, unlike = contrib.search.imitate(study_key, network, recorded, options.imitation)
        if not unlike[-1] < float("inf"):
            raise UserError("what Adam did could not be learned: choose a smaller --imitation.lr")
        say(f"of Adam's squared moves it misses {unlike[-20:].mean():.0%}")
        contrib.publish_learned(folder, network)
    found = contrib.load_learned(folder)
    assert isinstance(found, contrib.LearnedOptimiser)
    return found
