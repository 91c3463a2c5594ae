"""Commands as small as they get, and a prior made by one of them."""

from metarlhf.cli import main

JOINT = [
    "--iterations=3", "--reward-steps=2", "--tasks=4", "--episodes=1",
    "--pool=128", "--pool-new=16", "--clips=32", "--library=32",
    "--inner-labels=2", "--inner-particles=16", "--inner-clips=16",
    "--inner-candidates=8", "--reward.num-tasks=32", "--reward.batch-tasks=8",
    "--reward.hidden", "8", "--ppo.hidden", "8", "--ppo.minibatches=2",
]  # fmt: skip
GRADIENT = [
    "--policy.iterations=2", "--policy.meta-batch=2", "--policy.episodes=2",
    "--policy.inner-steps=1", "--policy.epochs=1", "--policy.hidden", "8",
    "--model.hidden", "8", "--model.batch-tasks=2", "--model.members=2",
    "--model.inner-steps=1", "--first-reward-steps=1", "--reward-steps=1",
    "--outer-labels=4", "--pool=64", "--pool-new=8", "--clips=16",
    "--library=32",
]  # fmt: skip
PPO = [
    "--total-steps=400", "--num-envs=4", "--num-steps=20", "--hidden",
    "8", "--evaluate-every=1", "--evaluation-episodes=2",
]  # fmt: skip
ORACLE = [flag.replace("--", "--oracle.") for flag in PPO]
DEMO = [flag.replace("--", "--joint.") for flag in JOINT]


def meta_train(folder, *more):
    return main(["meta-train", "navigation", *JOINT, "--run-dir", str(folder), *more])


def contents(folder):
    """Every file below `folder`, and what is in it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
