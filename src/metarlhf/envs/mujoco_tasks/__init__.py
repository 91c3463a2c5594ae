"""The MuJoCo tasks that meta-reinforcement learning is measured on, named by their lineage.

Rewards, ranges, ends, observations and horizons are those of the authors' code. Bodies and physics
are Gymnasium's and MuJoCo's own of today, so figures compare with the papers' by what adapting
gains, hardly by their absolute size.
"""
