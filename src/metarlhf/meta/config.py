"""Settings of meta-training by gradients: of the policy, of the reward, and of both at once."""

from dataclasses import dataclass, field
from typing import Literal

from metarlhf.feedback.config import Strategy, Teacher
from metarlhf.rlhf.config import RLHFConfig

Method = Literal["promp", "maml", "fomaml", "e-maml", "reptile", "guided"]
Estimator = Literal["auto", "log-prob", "ratio", "dice", "loaded-dice"]
Learned = Literal["none", "tensor", "parameter"]
InnerRule = Literal["sgd", "adam", "learned"]


@dataclass(frozen=True)
class MetaRLConfig:
    """Meta-learn an initialisation that a few gradient steps adapt to a task."""

    method: Method = "promp"
    """promp: credit for exploring before the update; maml: without it; fomaml: first order only;
    e-maml: credit for exploring, by what came of it as a whole; reptile: no meta-gradient, it moves
    towards adapted policies; guided: what experts of some tasks do, which PPO made, is imitated
    through the inner steps, in host simulators."""
    estimator: Estimator = "auto"
    """The inner loss, by what its second derivative counts (`metarlhf.meta.estimators`): log-prob,
    ratio, dice or loaded-dice; auto: ratio for promp and guided, log-prob for the others."""
    adapts: Literal["policy", "head", "context"] = "policy"
    """What the inner loop moves: all of the policy; its last layer and standard deviation alone, on
    features that are meta-learned (ANIL); or a few numbers alone that the policy is told beside
    what it observes, so that one network acts for all tasks (CAVIA; where they begin is
    meta-learned too)."""
    context_size: int = 16
    """How many numbers, where the context adapts."""
    inner_steps: int = 1
    """Gradient steps that adapt to a task; at test time any number may be taken."""
    inner_rule: InnerRule = "sgd"
    """What an inner step makes of a gradient: sgd, with step sizes that may be learned; adam;
    learned: what a small network says (`metarlhf.contrib.learned_optimiser`), which is meta-learned
    through the inner steps."""
    inner_lr: float = 0.1
    """Step size of the inner loop, and where a learned one starts."""
    learn_inner_lr: Learned = "parameter"
    """Meta-learn the step sizes (Meta-SGD): not, one for each tensor, or one for each parameter.
    Other rules than sgd have none to learn."""
    step_size_lr: float = 0.01
    """Adam's step size for learned step sizes, which it sees as multiples of inner_lr."""
    network_lr: float = 3e-3
    """Adam's step size for the network of inner_rule learned."""
    learn_offset: bool = False
    """Meta-learn what each inner step adds whatever it sees (NoRML): from exploring to acting."""
    judge_every_step: bool = False
    """Learn from what comes after each inner step, not the last alone (as MAML++ does)."""
    meta_batch: int = 40
    """Tasks in one meta-gradient."""
    tasks_at_once: int | None = None
    """Tasks of a device whose inner steps are differentiated together. None is one on a CPU, whose
    caches it fits, which takes a quarter off a meta-update; and all on a GPU. Results differ in
    rounding only."""
    episodes: int = 20
    """Episodes of a task that one inner step learns from, and as many after the last."""
    iterations: int = 100
    """Meta-updates: each collects anew."""
    expert_tasks: int = 8
    """guided: tasks that there are experts of; those that are drawn twice count once."""
    expert_steps: int = 1_000_000
    """guided: environment steps of PPO in each of them."""
    advice_std: float = 0.15
    """guided: standard deviation of what is imitated around what an expert holds best, in units of
    half the action range; how much experts themselves explore is not imitated."""
    outer_step: Literal["adam", "trpo"] = "adam"
    """What a meta-update is: steps of Adam, or one natural-gradient step within a hard bound on how
    far adapted policies move (as in MAML's own experiments); the value function learns by Adam."""
    kl_bound: float = 0.01
    """That bound, in nats."""
    curvature_tasks: int = 4
    """Tasks of a meta-batch by which trpo finds its direction; the bound is held on all. With all
    tasks a meta-update gets a little further, in several times the time."""
    reptile_step: float = 0.1
    """How much of the way to adapted policies reptile goes in one meta-update, before annealing."""
    exploration_coefficient: float = 1.0
    """Weight of e-maml's credit to what was sampled before adaptation."""
    epochs: int = 5
    """Adam steps on what was collected, in one meta-update."""
    lr: float = 1e-3
    """Adam's step size for the initialisation."""
    anneal_lr: bool = True
    """Let the step sizes of Adam and reptile fall linearly to zero over the iterations."""
    clip: float = 0.3
    """How far the importance ratio after adaptation may move before its gradient is cut."""
    kl_coefficient: float = 5e-4
    """Weight of the penalty on moving away from the policies that collected (ProMP's eta)."""
    kl_target: float = 0.0
    """Double and halve that weight to keep the KL near this, in nats; 0: leave it as it is."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 1.0
    """Generalised advantage estimation: 0 is one-step, 1 is Monte Carlo."""
    normalise_obs: bool = False
    """Observations to mean 0 and variance 1 by running estimates, which all tasks share and the
    outer loop alone updates: where their units differ, as joint angles and speeds."""
    normalise_advantage: bool = True
    """Standardise advantages within each task; else their size tells how much there is to gain."""
    baseline_ridge: float = 1e-5
    """How much the baseline, which is fitted to a task's own few episodes, is held near nothing.
    Where an observation has a hundred numbers it fits noise, and takes out of advantages what they
    should tell: more of it then. Of ten episodes of AntDir it told 46 % of the returns that it was
    fitted to, and of others less than nothing."""
    value_coefficient: float = 0.5
    """Weight of the value function's regression."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of policy and value function."""
    initial_std: float = 1.0
    """Exploration at the start, in units of the action range's half."""

    def __post_init__(self) -> None:
        counts = (
            "inner_steps", "curvature_tasks", "meta_batch", "tasks_at_once", "episodes",
            "iterations", "epochs", "expert_tasks", "expert_steps", "context_size",
        )  # fmt: skip
        for name in counts:
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        above_nothing = (
            "inner_lr", "lr", "step_size_lr", "network_lr", "kl_bound", "reptile_step",
            "advice_std", "initial_std", "clip",
        )  # fmt: skip
        for name in above_nothing:
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, but is {getattr(self, name)}")
        for name in (
            "baseline_ridge", "kl_coefficient", "kl_target", "exploration_coefficient",
            "value_coefficient",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, but is {getattr(self, name)}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, but is {getattr(self, name)}")
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Refuse what does not go together."""
        if self.inner_rule != "sgd" and self.learn_inner_lr != "none":
            raise ValueError(
                f"learn_inner_lr {self.learn_inner_lr} is for inner_rule sgd: {self.inner_rule} "
                "says itself how far each parameter moves. Choose learn_inner_lr none, or sgd"
            )
        guided, by_context = self.method == "guided", self.adapts == "context"
        for name, used, what in (
            ("context_size", by_context, "adapts context"),
            ("expert_tasks", guided, "method guided"),
            ("expert_steps", guided, "method guided"),
            ("advice_std", guided, "method guided"),
        ):
            if not used and getattr(self, name) != getattr(type(self), name):
                raise ValueError(f"{name} is for {what}: leave it out, or choose that")
        if self.method == "guided" and self.outer_step != "adam":
            raise ValueError(
                "guided imitates by steps of Adam: leave outer_step at adam, or choose another "
                "method"
            )
        if self.method == "reptile":
            self._check_reptile()

    def _check_reptile(self) -> None:
        if self.adapts != "policy":
            raise ValueError(
                f"reptile moves only what the inner loop moves: with adapts {self.adapts} all else "
                "would stay random. Choose adapts policy, or another method"
            )
        if self.learn_inner_lr != "none" or self.learn_offset or self.inner_rule == "learned":
            raise ValueError(
                "reptile has no meta-gradient, and so nothing to learn step sizes, offsets or a "
                "rule by: choose learn_inner_lr none, no learn_offset and inner_rule sgd or adam, "
                "or another method"
            )
        if self.outer_step != "adam":
            raise ValueError(
                "reptile moves towards adapted policies by reptile_step: there is no gradient for "
                f"{self.outer_step} to follow. Leave outer_step at adam, or choose another method"
            )

    @property
    def episodes_of_iteration(self) -> int:
        """Episodes that one meta-update collects, in all tasks and before and after each step."""
        return self.meta_batch * self.episodes * (self.inner_steps + 1)

    @property
    def inner_estimator(self) -> Estimator:
        """The estimator, with what `auto` stands for."""
        if self.estimator != "auto":
            return self.estimator
        return "ratio" if self.method in ("promp", "guided") else "log-prob"


@dataclass(frozen=True)
class GradientRewardConfig:
    """Meta-training of the gradient-adapted reward."""

    members: int = 3
    """Networks of the ensemble."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of each."""
    inner_steps: int = 5
    """Gradient steps that adapt it."""
    step_size: float = 0.05
    """Where the learned step sizes start."""
    batch_tasks: int = 16
    """Tasks in one meta-gradient."""
    support: int = 20
    """Answers to adapt on: up to so many, differing from task to task."""
    query: int = 64
    """Answers to judge the adapted reward by, half of them about pairs that look alike to it."""
    lr: float = 1e-3
    """Adam's step size for initialisation and step sizes."""


@dataclass(frozen=True)
class JointGradientConfig:
    """Meta-training by gradients over a family of tasks."""

    reward: Literal["teacher", "task"] = "teacher"
    """What pays: a reward learned from a teacher's answers, or what the task itself pays."""
    policy: MetaRLConfig = field(default_factory=MetaRLConfig)
    """How the policy adapts and is meta-trained."""
    model: GradientRewardConfig = field(default_factory=GradientRewardConfig)
    """How the learned reward adapts and is meta-trained."""
    first_reward_steps: int = 400
    """Meta-gradient steps of the reward on what an untrained policy does, before any policy learns
    from it: a random reward sends it off to where nothing can be learned."""
    reward_steps: int = 20
    """Meta-gradient steps of the reward in an iteration."""
    inner_labels: int = 10
    """Answers in an inner loop, which its policy learns from."""
    outer_labels: int = 100
    """Answers that make the reward by which the outer loop judges adapted policies."""
    candidates: int = 64
    """Questions considered for each one asked in an inner loop."""
    pool: int = 4096
    """Clips that questions are drawn from; new ones replace random old ones."""
    pool_new: int = 512
    """New clips in an iteration."""
    clips: int = 128
    """Clips of the pool that one loop's questions are about."""
    library: int = 512
    """Clips of the pool that the prior keeps, to ask about new tasks."""
    teacher: Teacher = field(default_factory=Teacher)
    """Who answers on training tasks."""

    def __post_init__(self) -> None:
        for name in (
            "first_reward_steps",
            "reward_steps",
            "inner_labels",
            "outer_labels",
            "candidates",
            "pool",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        for name in ("pool_new", "clips", "library"):
            if not 1 <= getattr(self, name) <= self.pool:
                raise ValueError(f"{name} must be 1 to {self.pool}, but is {getattr(self, name)}")

    @property
    def iterations(self) -> int:
        """Meta-updates of the policy."""
        return self.policy.iterations

    @property
    def total_reward_steps(self) -> int:
        """Meta-gradient steps of the reward in all."""
        return self.first_reward_steps + self.iterations * self.reward_steps

    def asking(self, labels: int, strategy: Strategy) -> RLHFConfig:
        """How one loop's questions are asked: all at once."""
        return RLHFConfig(
            labels=labels,
            rounds=1,
            strategy=strategy,
            candidates=self.candidates,
            teacher=self.teacher,
        )
