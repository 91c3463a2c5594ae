"""Steps a second of our PPO over Stable-Baselines3's, on CartPole-v1 and Pendulum-v1.

4 or 64 environments of 128 steps, 4 passes in 4 minibatches, two tanh layers of 64 for policy and
value function each, on the CPU; every other setting is the same too
(`benchmarks.ppo.protocol.Settings`). A step is one of the environment, with its share of learning;
what is compiled has been before. Stable-Baselines3 steps its environments in one process
(`DummyVecEnv`), PyTorch with the number of threads it chooses. Each run is a process of its own,
ours and theirs by turns; the figure is the ratio of medians, the interval the least and the
greatest ratio of two runs in turn. Before it counts, every run must have made the same number of
gradient steps on as many parameters.

Also, without a target: CleanRL's loop, written anew (`benchmarks.ppo.drivers.cleanrl_loop`), and
TorchRL's parts, put together as in its own scripts (`benchmarks.ppo.drivers.torchrl_ppo`).
"""

from benchmarks.ppo.peers import CLEANRL, SB3, TORCHRL, compare

ROW = "ppo-vs-sb3"


def measure(options):
    """Ratios for both tasks and all peers."""
    return compare(ROW, (SB3, CLEANRL, TORCHRL), options, must=20, aim=50)
