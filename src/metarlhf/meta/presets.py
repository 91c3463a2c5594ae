"""What was tuned for each family, in one place: how to meta-train, to adapt, and to do without.

All was chosen on the families' validation tasks, never on those that figures are published of.
Learning from scratch is tuned by the same hand, each of its two schedules for what it is compared
by: few answers, or few steps.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from metarlhf.envs.naming import is_host
from metarlhf.meta.config import (
    GradientRewardConfig,
    InnerRule,
    JointGradientConfig,
    MetaRLConfig,
    Method,
)
from metarlhf.meta.joint_config import JointConfig, LatentRewardConfig
from metarlhf.ppo import PPOConfig
from metarlhf.ppo.presets import GYMNAX_ORACLE, ORACLE, STEPPED
from metarlhf.rlhf import RLHFConfig

BESIDE = RLHFConfig(
    labels=100,
    rounds=20,
    updates=20,
    final_updates=50,
    ppo=replace(STEPPED, total_steps=PPOConfig.total_steps, anneal_lr=False),
)
"""RLHF from scratch in a host simulator: what is practised for
an answer is four updates of `STEPPED`, a second or two of MuJoCo."""

FINN2017 = MetaRLConfig(
    inner_steps=3,
    inner_lr=4.0,
    learn_offset=True,
    judge_every_step=True,
    step_size_lr=0.02,
    meta_batch=20,
    iterations=60,
    hidden=(32, 32),
    gamma=0.7,
    normalise_advantage=False,
)
"""Meta-RL with the task's reward on navigation/finn2017: three steps, each judged by what there was
to gain. So advantages are not normalised; steps a quarter as long would do if they were."""


PROMP2018 = MetaRLConfig(
    learn_inner_lr="none",
    iterations=1000,
    anneal_lr=False,
)
"""Meta-RL on MuJoCo as Rothfuss et al. 2019 published it: a fixed step of 0.1, 40 tasks of 20
episodes, Adam at 1e-3 for 5 epochs. Nothing was tuned here, nor is it for other methods."""


RUNNING = MetaRLConfig(
    inner_lr=0.1,
    learn_offset=True,
    step_size_lr=0.02,
    meta_batch=5,
    episodes=10,
    iterations=200,
    lr=3e-3,
    gamma=0.95,
    gae_lambda=0.95,
    initial_std=0.6,
)
"""Meta-RL on MuJoCo's cheetah and ant, chosen on HalfCheetahDir: step sizes and an offset are
learned, batches are small, and so many more meta-updates are made of as many steps, and credit goes
back a second rather than five. Four million steps in all, where others take a hundred."""


ANT = replace(
    RUNNING,
    inner_lr=0.3,
    meta_batch=4,
    episodes=20,
    epochs=20,
    iterations=500,
    lr=2e-3,
    initial_std=0.3,
    normalise_obs=True,
    baseline_ridge=0.01,
)
"""The same on MuJoCo's ant, which is slow to step: a hundred and more numbers are brought to one
scale, four times as many steps of Adam are made of as many of the simulator's, and each task is
judged by twice as many episodes. After 0.6 million steps of AntDir a step gained 48 so, 23 to 34
with an inner step of 0.1, and 9 to 30 by `RUNNING` (one seed each). Sixteen million steps in all;
after 1.5 of them a step gained 60, and it went on slowly. Guided it goes further, see `_guided`.
"""


META_WORLD = replace(PROMP2018, meta_batch=20, episodes=10, hidden=(512, 512))
"""The same on Meta-World, with as many tasks, episodes and neurons as its own baselines have."""


ADAM_LR = 0.03
"""Step size of Adam in the inner loop. Its steps are of that size whatever gradients are."""


def by_gradient(
    family: str,
    method: Method = "promp",
    reward: Literal["teacher", "task"] = "teacher",
    inner_rule: InnerRule = "sgd",
) -> JointGradientConfig:
    """Meta-training by gradients, as tuned on navigation, and where answers pay on reacher too.

    Gymnax does not start from that: rewards there may be of any size, and advantages are
    normalised. MuJoCo's runners have settings of their own, and other simulators outside the
    program what was published.
    """
    policy = FINN2017
    if is_host(family):
        policy = META_WORLD if family.startswith("metaworld/") else PROMP2018
        if family.startswith(("finn2017/", "pearl2019/")) and "RandParams" not in family:
            policy = RUNNING
            if "Ant" in family:
                policy = ANT
    elif family.startswith("gymnax:"):
        policy = MetaRLConfig(meta_batch=20)
    elif reward == "teacher":
        policy = _taught(family)
    if method == "reptile":
        # Nothing is learned of the steps, and one step size has to do for all parameters: plain
        # ones, on standardised advantages. Not tuned.
        policy = replace(
            policy,
            learn_inner_lr="none",
            learn_offset=False,
            inner_lr=0.5,
            normalise_advantage=True,
        )
    if method == "guided":
        policy = _guided(policy)
    if inner_rule != "sgd":
        policy = replace(policy, inner_rule=inner_rule, learn_inner_lr="none")
    if inner_rule == "adam":
        policy = replace(policy, inner_lr=ADAM_LR)
    policy = replace(policy, method=method)
    return JointGradientConfig(
        reward=reward, policy=policy, model=GradientRewardConfig(batch_tasks=8)
    )


def _guided(policy: MetaRLConfig) -> MetaRLConfig:
    """Ten times as long inner steps, and a penalty that holds what has collected. Returns tell no
    more than which task it is, and do so best where credit goes back a few steps only. On AntDir a
    step came to 163 so after 0.4 million steps; to 131 with credit for a second; to 104 with steps
    a third as long besides; and to 36 with a tenth of that and a hundredth of the penalty. Then it
    flattened at 185, by 20 steps of Adam for an iteration, and as it imitated how experts explore
    and acted at random where it could not imitate (see `guided`). Without these it was at 340 after
    1.1 million, by experts that returned 385 and by their modes 445; and at 511 in the end, by
    better ones, whose modes return 542 and 623 (one seed each).
    """
    return replace(
        policy,
        method="guided",
        inner_lr=10 * policy.inner_lr,
        iterations=120,
        epochs=40,
        lr=2e-3,
        gamma=0.8,
        kl_coefficient=5.0,
        expert_steps=4_000_000,
    )


def _taught(family: str) -> MetaRLConfig:
    """Where answers pay. What is learned pays less evenly than a task does: at steps as long as
    `FINN2017`'s a policy is lost. Standardised advantages were better on reacher, but not on
    navigation.
    """
    if family.startswith("navigation"):
        return replace(FINN2017, inner_lr=1.0)
    ppo = preset(family).joint.ppo
    return replace(
        FINN2017,
        inner_lr=0.1,
        lr=3e-3,
        gamma=ppo.gamma,
        gae_lambda=0.95,
        initial_std=ppo.initial_std,
        normalise_advantage=True,
    )


FAMILIES = ("navigation", "reacher", "pendulum")
"""The families with presets; their variants, such as navigation/pearl2019, share them."""


@dataclass(frozen=True)
class Preset:
    """How a family is meta-trained on, taught, and compared with learning from scratch."""

    joint: JointConfig
    """Meta-training."""
    demo: JointConfig
    """Meta-training in less time, for a first look."""
    oracle: PPOConfig
    """PPO with the true reward."""
    ten: RLHFConfig
    """Adapting to a new task with ten comparisons."""
    twenty: RLHFConfig
    """With twenty."""
    ratings: RLHFConfig
    """With ten ratings instead."""
    few_labels: RLHFConfig
    """RLHF from scratch that makes the most of each answer: many updates between questions."""
    few_steps: RLHFConfig
    """RLHF from scratch that makes the most of each step: many answers early, small batches."""


@cache
def preset(family: str) -> Preset:
    """The preset of the family called `family`; the general one where none was tuned."""
    general = family.split("/")[0]
    # The point's reward is a cone, whose tip takes more features to place.
    # It is to stop within a hundredth of its goal: that takes a policy that strays little, and sees
    # what each step alone is worth. The rod has to explore most, for it is slow to lift.
    reward = LatentRewardConfig(num_tasks=2048, latent_noise=0.005)
    sharp = replace(reward, num_features=192, latent_lr=0.05, latent_noise=0.03)
    reward, reward_steps, gamma, initial_std = {
        "navigation": (sharp, 60, 0.7, 0.3),
        "pendulum": (reward, 40, 0.95, 1.0),
    }.get(general, (reward, 40, 0.9, 0.7))
    joint = JointConfig(
        iterations=50,
        reward_steps=reward_steps,
        ppo=PPOConfig(minibatches=32, lr=2e-3, gamma=gamma, initial_std=initial_std),
        reward=reward,
    )
    # Ten comparisons are about the prior's own clips: not a step is taken in the new task. When
    # more is known about what is wanted it is worth practising, for a policy of all tasks is
    # precise in none. Much practice would find out where the learned reward is wrong.
    ten = RLHFConfig(labels=10, rounds=5, ask_envs=0)
    practice = PPOConfig(num_envs=5, num_steps=100, epochs=8, gamma=gamma, lr=3e-4, anneal_lr=False)
    ratings = replace(ten, feedback="ratings", candidates=200, final_updates=10, ppo=practice)
    twenty = replace(
        ten, labels=20, rounds=10, ask_envs=1, remembered_rounds=10, final_updates=10, ppo=practice
    )
    # From scratch they differ most in how many answers they can use. Few answers go furthest where
    # one or two are asked at a time, each in the light of those before.
    few_labels, updates, few_steps = {
        "navigation": (130, 2, 800),
        "pendulum": (60, 2, 600),
    }.get(general, (70, 2, 600))
    scratch = PPOConfig(gamma=0.97, anneal_lr=False)
    small_batches = replace(scratch, num_envs=4, epochs=8)
    return Preset(
        joint=joint,
        demo=replace(joint, iterations=30),
        oracle=GYMNAX_ORACLE if family.startswith("gymnax:") else ORACLE,
        ten=ten,
        twenty=twenty,
        ratings=ratings,
        few_labels=RLHFConfig(
            labels=few_labels,
            rounds=40,
            updates=updates,
            final_updates=20,
            remembered_rounds=3,
            ppo=scratch,
        ),
        few_steps=RLHFConfig(
            labels=few_steps,
            rounds=40,
            updates=1,
            final_updates=60,
            remembered_rounds=5,
            ppo=small_batches,
        ),
    )
