"""Steps a second of our PPO over Rejax's, on CartPole-v1 and Pendulum-v1.

Measured as `ppo_vs_sb3` says: the same settings and networks, on the CPU, each run in a process of
its own, by turns. Both are compiled by the same release of JAX. Time to compile does not count; it
is in the details. Rejax's evaluation is left out, and it is on Gymnax 0.0.9, the last it runs on.

Also, without a target: PureJaxRL's loop, written anew (`benchmarks.ppo.drivers.purejaxrl_loop`).
"""

from benchmarks.ppo.peers import PUREJAXRL, REJAX, compare

ROW = "ppo-vs-rejax"


def measure(options):
    """Ratios for both tasks and both peers."""
    return compare(ROW, (REJAX, PUREJAXRL), options, must=1.5, aim=3)
