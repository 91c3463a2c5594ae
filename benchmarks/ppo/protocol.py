"""What a driver is asked, and what it answers.

Every peer's own interpreter imports this file: it may use nothing but the standard library.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata

# That a trained agent is judged by.
EPISODES = 40


@dataclass(frozen=True)
class Settings:
    """What to train, the same for every peer."""

    environment: str = "CartPole-v1"
    """Gymnasium's name."""
    workers: str = "sync"
    """Where a simulator steps that is not compiled: "sync" in the same process, one environment
    after the other, "async" in a process for each, "envpool" in EnvPool's threads."""
    updates: int = 30
    """How many times to play and learn in the run that is timed."""
    seed: int = 0
    num_envs: int = 64
    num_steps: int = 128
    epochs: int = 4
    minibatches: int = 4
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the tanh layers of policy and value function, a network each."""
    lr: float = 1e-3
    """Adam's step size, constant: not every peer can anneal it."""
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    """How far importance ratios may move, and values too: some peers cannot leave those free."""
    entropy_coefficient: float = 0.01
    value_coefficient: float = 0.5
    """Weight of half the mean squared error."""
    max_grad_norm: float = 0.5
    anneal_lr: bool = False
    """Let the step size fall linearly to zero over the run."""
    value_clip: bool = True
    """Whether values are held, as above."""
    normalise: bool = False
    """Whether observations and rewards are, by their running mean and standard deviation."""
    initial_std: float = 1.0
    """How far actions stray at first, in the simulator's own units."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON knows lists alone

    @property
    def batch_size(self) -> int:
        """Environment steps of one update."""
        return self.num_envs * self.num_steps

    @property
    def steps(self) -> int:
        """Environment steps of the run that is timed."""
        return self.updates * self.batch_size


@dataclass(frozen=True)
class Measurement:
    """What a run took, and what shows that it did the same work as others.

    Attributes:
        steps: environment steps of the run that was timed.
        seconds: its time; nothing in it was done for the first time.
        compile_seconds: how much longer the first call took; None where nothing is compiled.
        gradient_steps: how many the optimiser says it made in that time.
        parameters: how many numbers were trained.
        versions: what it ran on.
    """

    steps: int
    seconds: float
    compile_seconds: float | None
    gradient_steps: int
    parameters: int
    versions: dict[str, str]

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps / self.seconds


@dataclass(frozen=True)
class Learned:
    """What a trained agent gets.

    Attributes:
        sampled: true return of each of some episodes, its actions drawn as in training.
        mode: likewise, of its most likely actions.
        seconds: what training took, however busy the machine was.
    """

    sampled: list[float]
    mode: list[float]
    seconds: float


def versions(*packages: str) -> dict[str, str]:
    """The installed releases."""
    return {package: metadata.version(package) for package in packages}


def serve(run: Callable[[Settings], Measurement | Learned]) -> None:
    """Read settings as JSON from standard input, run, and print what it gives in one line."""
    settings = Settings(**json.load(sys.stdin))
    print(json.dumps(asdict(run(settings))))
