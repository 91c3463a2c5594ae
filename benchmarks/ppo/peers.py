"""PPO beside its peers: each in a process and an environment of its own, by turns with ours."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product
from typing import TypeVar

from benchmarks.harness import ROOT, Options, Result
from benchmarks.ppo.protocol import Learned, Measurement, Settings

ENVIRONMENTS = ROOT / "runs" / "benchmarks" / "peers"
EQUAL = Settings()
# What CleanRL and PureJaxRL take for CartPole, 4 environments of 128 steps, and sixteen times that:
# large batches are where what PyTorch and Python cost for each call counts least.
SIZES = (replace(EQUAL, num_envs=4), EQUAL)
TASKS = ("CartPole-v1", "Pendulum-v1")
REPEATS = 5
PATIENCE = 3600  # seconds for one process

Answer = TypeVar("Answer", Measurement, Learned)


@dataclass(frozen=True)
class Peer:
    """Another implementation of PPO.

    Attributes:
        name: what people call it.
        driver: the module that runs it, among its `drivers`.
        updates: how many make a run of a few seconds.
        environment: the folder it is installed in; None: with the project itself.
        requirements: what is installed there.
        workers: where its simulators step, see `Settings.workers`.
        beside: packages, without what they need, that join the project's own for this peer.
        drivers: the package of its driver.
    """

    name: str
    driver: str
    updates: int
    environment: str | None = None
    requirements: tuple[str, ...] = ()
    workers: str = "sync"
    beside: tuple[str, ...] = ()
    drivers: str = "benchmarks.ppo.drivers"


TORCH = ("torch==2.13.0", "stable-baselines3==2.9.2", "gymnasium==1.4.0", "numpy==2.4.6")
# JAX and Optax of the same release as ours, so that the compiler makes no difference. Rejax runs
# on the last Gymnax before 1.0 alone, whose step returns one value fewer.
JAX = (
    "rejax==0.1.3", "gymnax==0.0.9", "jax==0.10.2", "jaxlib==0.10.2", "flax==0.12.8",
    "distrax==0.1.9", "optax==0.2.8", "numpy==2.4.6",
)  # fmt: skip

OURS = Peer("MetaRLHF", "ours", 60)
SB3 = Peer("Stable-Baselines3", "sb3", 4, "stable-baselines3", TORCH)
CLEANRL = Peer("CleanRL's loop", "cleanrl_loop", 4, "stable-baselines3", TORCH)
REJAX = Peer("Rejax", "rejax_ppo", 40, "rejax", JAX)
TORCHRL = Peer("TorchRL", "torchrl_ppo", 1, "torchrl", (*TORCH[:1], "torchrl==0.14.1", *TORCH[2:]))
PUREJAXRL = Peer("PureJaxRL's loop", "purejaxrl_loop", 40, "rejax", JAX)


def compare(row: str, peers: Sequence[Peer], options: Options, **targets: float) -> list[Result]:
    """Our steps a second over those of each of `peers`; `targets` are for the first."""
    repeats = options.seeds or (1 if options.quick else REPEATS)
    for rival in peers:
        interpreter(rival)  # installed now, so that nothing comes between the runs
    figures = []
    for task, settings in product(TASKS, SIZES):
        size = f"{task}, {settings.num_envs} environments"
        # As many steps whatever the size, so that a run takes seconds.
        factor = EQUAL.batch_size // settings.batch_size
        sized = [replace(one, updates=factor * one.updates) for one in (OURS, *peers)]
        runs = by_turns(sized, task, repeats, settings, quick=options.quick)
        ours = sized[0]
        for rival in sized[1:]:
            goal = targets if rival is sized[1] else {}
            value, low, high = ratio(rates(runs[ours]), rates(runs[rival]))
            name = size if goal else f"{size}, {rival.name}"
            details = {one.name: described(runs[one]) for one in (ours, rival)}
            seeds = tuple(range(repeats))
            figures.append(
                Result(row, name, value, low=low, high=high, seeds=seeds, details=details, **goal)
            )
    return figures


def by_turns(
    peers: Sequence[Peer],
    task: str,
    repeats: int,
    base: Settings = EQUAL,
    *,
    quick: bool = False,
) -> dict[Peer, list[Measurement]]:
    """Measure each peer in turn, `repeats` times, so that a slow minute is slow for all."""
    runs: dict[Peer, list[Measurement]] = {peer: [] for peer in peers}
    for seed in range(repeats):
        for peer in peers:
            updates = max(1, peer.updates // 4) if quick else peer.updates
            settings = replace(base, environment=task, updates=updates, seed=seed)
            measured = run(peer, replace(settings, workers=peer.workers))
            print(f"{task}, {peer.name}: {measured.rate:,.0f} steps/s", flush=True)
            runs[peer].append(measured)
    return runs


def run(peer: Peer, settings: Settings) -> Measurement:
    """Train once with the peer's driver, in a fresh process.

    Raises:
        RuntimeError: the driver failed, or did other work than it was asked to.
    """
    measured = answer(peer, settings)
    check(peer, settings, measured)
    return measured


def answer(peer: Peer, settings: Settings, kind: type[Answer] = Measurement) -> Answer:
    """What the peer's driver says, in a fresh process.

    Raises:
        RuntimeError: it failed.
    """
    command = [interpreter(peer), "-m", f"{peer.drivers}.{peer.driver}"]
    asked = json.dumps(asdict(settings))
    done = subprocess.run(
        command,
        input=asked,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=surroundings(peer),
        timeout=PATIENCE,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{peer.name} failed on {asked}:\n{done.stderr[-2000:]}")
    return kind(**json.loads(done.stdout.splitlines()[-1]))


def check(peer: Peer, settings: Settings, measured: Measurement) -> None:
    """Steps, gradient steps and trained numbers are what the settings ask of everybody."""
    found = (measured.steps, measured.gradient_steps, measured.parameters)
    gradient_steps = settings.updates * settings.epochs * settings.minibatches
    expected = (settings.steps, gradient_steps, parameters(settings))
    if found != expected:
        raise RuntimeError(
            f"{peer.name} did other work than the rest: steps, gradient steps and trained numbers "
            f"are {found}, expected {expected}. Its driver does not do what the settings say."
        )


def parameters(settings: Settings) -> int:
    """Weights and biases of policy and value function, and a deviation where actions are real."""
    inputs, outputs, deviations = {
        "CartPole-v1": (4, 2, 0),
        "Pendulum-v1": (3, 1, 1),
        "HalfCheetah-v5": (17, 6, 6),
    }[settings.environment]
    total = deviations
    for last in (outputs, 1):
        sizes = (inputs, *settings.hidden, last)
        total += sum((above + 1) * below for above, below in pairwise(sizes))
    return total


def interpreter(peer: Peer) -> str:
    """The Python that has the peer, which is installed if it is not there as required."""
    if peer.environment is None:
        return sys.executable
    folder = ENVIRONMENTS / peer.environment
    python, installed = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(peer.requirements)
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        print(f"installing {', '.join(peer.requirements)} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", *peer.requirements]
        subprocess.run(install, check=True)
        installed.write_text(wanted, encoding="utf-8")  # last: half an installation is none
    return str(python)


def packages_beside(peer: Peer) -> str:
    """The folder of a peer's packages beside the project's own, installed if they are not there."""
    folder = ENVIRONMENTS / f"beside-{peer.workers}"
    installed, wanted = folder / "requirements.txt", "\n".join(peer.beside)
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        print(f"installing {', '.join(peer.beside)} into {folder}", flush=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        subprocess.run([*install, "--target", folder, *peer.beside], check=True)
        installed.write_text(wanted, encoding="utf-8")
    return str(folder)


def surroundings(peer: Peer) -> dict[str, str]:
    """Environment variables: a CPU for all, nothing compiled before, and no packages of ours."""
    hidden = {"JAX_COMPILATION_CACHE_DIR"} | ({"PYTHONPATH"} if peer.environment else set())
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    if peer.beside:
        paths = [packages_beside(peer), kept.get("PYTHONPATH", "")]
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return kept | {"JAX_PLATFORMS": "cpu"}


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of medians, and the least and greatest ratio of two measured one after the other.

    With few pairs the ratio of medians may lie outside these; the interval is then widened to it.
    """
    value = statistics.median(above) / statistics.median(below)
    pairs = [a / b for a, b in zip(above, below, strict=True)]
    return value, min(value, *pairs), max(value, *pairs)


def rates(runs: Iterable[Measurement]) -> list[float]:
    """Steps a second of each run."""
    return [one.rate for one in runs]


def described(runs: Sequence[Measurement]) -> dict:
    """What a row keeps of a peer's runs."""
    compiling = [one.compile_seconds for one in runs if one.compile_seconds is not None]
    return {
        "steps_per_second": statistics.median(rates(runs)),
        "runs": rates(runs),
        "steps_of_a_run": runs[0].steps,
        "compile_seconds": statistics.median(compiling) if compiling else None,
        "versions": runs[0].versions,
    }
