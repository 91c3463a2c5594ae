"""Settings of meta-training a policy and a latent reward together."""

from dataclasses import dataclass, field

from metarlhf.feedback.config import Teacher
from metarlhf.ppo.config import PPOConfig


@dataclass(frozen=True)
class LatentRewardConfig:
    """Meta-training of the latent reward."""

    num_tasks: int = 4096
    """Training tasks; their task variables become the prior's particles."""
    latent_size: int = 8
    """Numbers that a task is described by."""
    num_features: int = 64
    """Features that every reward is a weighted sum of."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of feature network and decoder."""
    batch_tasks: int = 256
    """Tasks in one gradient step."""
    comparisons: int = 64
    """Questions a task in one gradient step, half of them about pairs that look alike."""
    lr: float = 8e-3
    """Adam's step size for what is shared."""
    latent_lr: float = 0.1
    """Adam's step size for the tasks' variables."""
    latent_noise: float = 0.02
    """Noise on task variables in training, so that there are no gaps between them."""
    latent_decay: float = 1e-4
    """Weight of the squared norm of task variables: the standard normal prior."""
    rating_weight: float = 0.3
    """Weight of the marks' likelihood beside the comparisons'."""
    lapse: float = 0.01
    """Assumed probability of a random answer on training tasks, where answers are plenty; on new
    ones it is `reward.likelihood.LAPSE`."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_tasks <= self.num_tasks:
            raise ValueError(
                f"batch_tasks must be 1 to num_tasks ({self.num_tasks}), but is {self.batch_tasks}"
            )
        for name in ("latent_size", "num_features", "comparisons"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")


@dataclass(frozen=True)
class JointConfig:
    """Meta-training over a family of tasks."""

    iterations: int = 60
    """Policy updates; the reward takes `reward_steps` gradient steps for each."""
    reward_steps: int = 20
    """Gradient steps of the reward in an iteration."""
    tasks: int = 64
    """Training tasks played in an iteration."""
    episodes: int = 4
    """Episodes of each."""
    pool: int = 8192
    """Clips that questions are drawn from; new ones replace random old ones."""
    pool_new: int = 512
    """New clips in an iteration."""
    library: int = 512
    """Clips of the pool that the prior keeps, to ask about new tasks."""
    clips: int = 128
    """Clips of the pool that one gradient step of the reward asks about."""
    inner_labels: int = 10
    """Answers in the inner loop: up to so many, differing from task to task."""
    inner_particles: int = 512
    """Particles of the inner loop's posterior, drawn from the bank."""
    inner_clips: int = 256
    """Clips of the pool that the inner loop's questions are about."""
    inner_candidates: int = 32
    """Questions considered for each one asked in the inner loop."""
    reward_share: float = 0.7
    """Share of meta-training in which the reward comes to rest; in what remains it moves on by
    small steps only, for the policy to catch up with what task variables mean."""
    told_all: float = 0.5
    """Share of the tasks whose policy is told the task's own variable, as if answers were many."""
    reward: LatentRewardConfig = field(default_factory=LatentRewardConfig)
    """The reward's meta-training."""
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(minibatches=32, gamma=0.95, lr=2e-3))
    """How the policy learns; its numbers of environments and steps follow from the tasks'."""
    teacher: Teacher = field(default_factory=Teacher)
    """Who answers on training tasks."""

    def __post_init__(self) -> None:
        for name in ("iterations", "reward_steps", "tasks", "episodes", "pool", "clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        for name, most in (
            ("pool_new", self.pool),
            ("library", self.pool),
            ("inner_clips", self.pool),
            ("tasks", self.reward.num_tasks - 1),
            ("inner_particles", self.reward.num_tasks - self.tasks),
        ):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name} must be 1 to {most}, but is {getattr(self, name)}: with a pool of "
                    f"{self.pool} episodes and reward.num_tasks = {self.reward.num_tasks} it is "
                    "too large, or they are too few"
                )
        if self.tasks * self.episodes % self.ppo.minibatches:
            raise ValueError(
                f"tasks * episodes = {self.tasks * self.episodes} must be a multiple of "
                f"ppo.minibatches = {self.ppo.minibatches}"
            )
        if not 0 < self.reward_share <= 1:
            raise ValueError(
                f"reward_share must be above 0 and at most 1, but is {self.reward_share}"
            )
        if not 0 <= self.told_all <= 1:
            raise ValueError(f"told_all must be from 0 to 1, but is {self.told_all}")
        # One policy for all tasks is made and updated here, not by `ppo.train`.
        for name, only in (
            ("objective", "clip"),
            ("memory", None),
            ("normalise_obs", False),
            ("normalise_reward", False),
            ("squash", False),
            ("shared_torso", False),
        ):
            if getattr(self.ppo, name) != only:
                raise ValueError(
                    f"joint meta-training knows ppo.{name} = {only!r} alone, but it is "
                    f"{getattr(self.ppo, name)!r}"
                )

    @property
    def tasks_told_all(self) -> int:
        """How many of an iteration's tasks, the first ones, that share is; not all of them."""
        return min(round(self.told_all * self.tasks), self.tasks - 1)

    @property
    def reward_rest(self) -> int:
        """Gradient steps of the reward until it has come to rest."""
        return max(1, round(self.reward_share * self.iterations * self.reward_steps))
