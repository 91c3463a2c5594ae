"""How rewards, and what must never be, are learned from answers."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EnsembleConfig:
    """A reward model learned from answers alone."""

    members: int = 3
    """Networks, each with its own start and its own minibatches of the answers."""
    network: Literal["mlp", "additive"] = "mlp"
    """What each network is: a perceptron on all inputs, or a sum of one for each input, whose
    curves can be read (`metarlhf explain`), and which nothing hides in that two inputs do
    together."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of each network."""
    lr: float = 3e-3
    """Adam's step size."""
    fit_steps: int = 100
    """Gradient steps each time that new answers came in."""
    minibatch: int = 32
    """Answers of each kind in one gradient step."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW): answers are few."""
    weight_spread: float | None = None
    """How far weights are expected to move from where they begin, in units of their size there: the
    standard deviation of a normal prior, which many answers outweigh and a few wrong ones do not.
    None: as far as they like. Where answers may be wrong, 2 has done well."""
    lapse: float = 0.0
    """Share of each person's comparisons that are expected to be guesses, before there is an
    answer; 0: none ever is. Where answers may be wrong, 0.1 has done well."""
    lapse_answers: float | None = 2.0
    """How many answers of a person that expectation is worth: with more, each network takes their
    share to be what the answers say it is. None: it stays."""

    def __post_init__(self) -> None:
        if self.weight_spread is not None and not self.weight_spread > 0:
            raise ValueError(f"weight_spread must be above 0, but is {self.weight_spread}")
        if not 0 <= self.lapse < 1:
            raise ValueError(f"lapse must be from 0 to below 1, but is {self.lapse}")
        if self.lapse_answers is not None and not self.lapse_answers > 0:
            raise ValueError(f"lapse_answers must be above 0, but is {self.lapse_answers}")


ROBUST = EnsembleConfig(weight_decay=0.0, weight_spread=2.0, lapse=0.1)
"""For answers of which some are wrong."""


@dataclass(frozen=True)
class CostConfig:
    """A model of what somebody calls forbidden."""

    members: int = 3
    """Networks, each with its own start and minibatches."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of each."""
    lr: float = 3e-3
    """Adam's step size."""
    fit_steps: int = 100
    """Gradient steps each time that more clips were looked over."""
    minibatch: int = 128
    """Steps in each: half of them marked ones, where there are any."""
    caution: float = 1.0
    """How many standard deviations of what the networks think are added to what they think on
    average: what they disagree about may be forbidden."""

    def __post_init__(self) -> None:
        for name in ("members", "fit_steps", "minibatch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        if not 0 <= self.caution < math.inf:
            raise ValueError(f"caution must be 0 or more, and finite, but is {self.caution}")
