"""A family in which answers say nothing of what a step pays."""

import jax.numpy as jnp

from metarlhf import envs


class Paid(envs.Navigation):
    """Pays the same for every step: the first of the task's two numbers.

    No clip is better than another, and below the bounds all marks are the worst, whatever that
    number is: so nothing that learns from answers alone can differ between two such tasks. A task
    that is drawn pays `wage`.
    """

    def __init__(self, wage=-2.0):
        super().__init__(terminates=False)
        self.wage = wage

    def sample(self, key):
        return jnp.array([self.wage, 0.0])

    def reward(self, obs, action, next_obs, task):
        return task[0]
