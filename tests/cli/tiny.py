"""Commands as small as they get, and a prior made by one of them."""

from metarlhf.cli import main

JOINT = [
    "--config.iterations=3", "--config.reward-steps=2", "--config.tasks=4", "--config.episodes=1",
    "--config.pool=128", "--config.pool-new=16", "--config.clips=32", "--config.library=32",
    "--config.inner-labels=2", "--config.inner-particles=16", "--config.inner-clips=16",
    "--config.inner-candidates=8", "--config.reward.num-tasks=32", "--config.reward.batch-tasks=8",
    "--config.reward.hidden", "8", "--config.ppo.hidden", "8", "--config.ppo.minibatches=2",
]  # fmt: skip
GRADIENT = [
    "--config.policy.iterations=2", "--config.policy.meta-batch=2", "--config.policy.episodes=2",
    "--config.policy.inner-steps=1", "--config.policy.epochs=1", "--config.policy.hidden", "8",
    "--config.model.hidden", "8", "--config.model.batch-tasks=2", "--config.model.members=2",
    "--config.model.inner-steps=1", "--config.first-reward-steps=1", "--config.reward-steps=1",
    "--config.outer-labels=4", "--config.pool=64", "--config.pool-new=8", "--config.clips=16",
    "--config.library=32",
]  # fmt: skip
PPO = [
    "--config.total-steps=400", "--config.num-envs=4", "--config.num-steps=20", "--config.hidden",
    "8", "--config.evaluate-every=1", "--config.evaluation-episodes=2",
]  # fmt: skip
ORACLE = [flag.replace("config", "oracle") for flag in PPO]


def meta_train(folder, *more):
    return main(["meta-train", "navigation", *JOINT, "--run-dir", str(folder), *more])


def contents(folder):
    """Every file below `folder`, and what is in it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
