"""What can be chosen in PPO."""

from dataclasses import dataclass
from typing import Literal

from metarlhf.networks.config import Cell


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017)."""

    total_steps: int = 200_000
    """Budget of environment steps; one update at least is made."""
    num_envs: int = 32
    """Environments that step together."""
    num_steps: int = 100
    """Steps in each environment between two updates."""
    epochs: int = 4
    """Passes over the collected steps in one update."""
    minibatches: int = 4
    """Gradient steps in one pass."""
    lr: float = 1e-3
    """Adam's step size."""
    anneal_lr: bool = True
    """Let the step size fall linearly to zero over the budget."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """Generalised advantage estimation: 0 is one-step, 1 is Monte Carlo."""
    objective: Literal["clip", "kl", "trpo", "discovered"] = "clip"
    """Keep near the old policy by clipping the importance ratio, by a penalty on the KL divergence,
    by a natural-gradient step within a hard bound on it, or by a drift that was meta-learned
    (discovered policy optimisation, in its closed form)."""
    clip: float = 0.2
    """How far the importance ratio may move before its gradient is cut."""
    kl_target: float = 0.01
    """KL in nats that the adaptive penalty aims at, and that trpo never exceeds."""
    kl_coefficient: float = 1.0
    """Weight of the penalty: fixed, or where it starts if it adapts."""
    adapt_kl_coefficient: bool = True
    """Double and halve that weight to keep the KL near kl_target."""
    kl_stop: float = 0.0
    """Leave the rest of an update when a minibatch's KL is above this, in nats; 0: never."""
    value_clip: float = 0.0
    """How far values may move in an update before their gradient is cut, 0: as far as they like."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: float = 0.5
    """Weight of the value loss beside the policy loss."""
    max_grad_norm: float = 0.5
    """Longer gradients are shortened to this."""
    normalise_advantage: bool = True
    """Standardise advantages in each minibatch."""
    normalise_obs: bool = False
    """Observe in units of the running mean and standard deviation, clipped to +-10."""
    normalise_reward: bool = False
    """Divide rewards by the running standard deviation of the discounted return, clip to +-10."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of policy and value function."""
    shared_torso: bool = False
    """One torso (encoder, memory, hidden layers) for both, each with a last layer of its own;
    otherwise nothing is shared. The value loss then shapes it too: see value_coefficient."""
    initial_std: float = 1.0
    """Exploration at the start, in units of the action range's half."""
    squash: bool = False
    """End continuous actions at their bounds by a tanh; otherwise they are cut off there."""
    memory: Cell | None = None
    """A recurrent cell for policy and value function each; minibatches are whole sequences."""
    memory_size: int = 64
    """Numbers that it remembers."""
    evaluate_every: int = 20
    """Updates between two evaluations of `train`."""
    evaluation_episodes: int = 16
    """Episodes of one evaluation, apart from training."""
    patience: int = 0
    """Stop when this many evaluations in a row brought no better return; 0: only the budget."""
    tolerance: float = 0.01
    """What counts as better: this share of the spread of evaluation returns so far."""

    def __post_init__(self) -> None:
        for name in (
            "total_steps", "num_envs", "num_steps", "epochs", "minibatches", "memory_size",
            "evaluate_every", "evaluation_episodes",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        for name in ("lr", "clip", "kl_target", "initial_std", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, but is {getattr(self, name)}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, but is {getattr(self, name)}")
        for name in ("kl_coefficient", "kl_stop", "value_clip", "patience"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, but is {getattr(self, name)}")
        if self.shared_torso and self.objective == "trpo":
            raise ValueError(
                "trpo bounds how far the policy moves, and a shared torso would let the value "
                "loss move it after that: choose objective clip or kl, or no shared_torso"
            )
        if self.kl_stop and self.objective == "trpo":
            raise ValueError(
                "trpo takes one step within a hard bound, kl_target: there is nothing for kl_stop "
                "to stop"
            )
        if self.memory and self.num_envs % self.minibatches:
            raise ValueError(
                f"with a memory, num_envs = {self.num_envs} must be a multiple of minibatches = "
                f"{self.minibatches}: sequences are not cut"
            )
        if self.batch_size % self.minibatches:
            raise ValueError(
                f"num_envs * num_steps = {self.batch_size} must be a multiple of "
                f"minibatches = {self.minibatches}"
            )

    @property
    def batch_size(self) -> int:
        """Environment steps of one update."""
        return self.num_envs * self.num_steps

    @property
    def num_updates(self) -> int:
        """Updates that fit the budget, at least one."""
        return max(1, self.total_steps // self.batch_size)

    @property
    def steps(self) -> int:
        """Environment steps that these updates take: the budget, in whole updates."""
        return self.num_updates * self.batch_size
