"""How near PPO comes to the rate at which the machine multiplies matrices, on CartPole.

The figure is (operations of an iteration / its time) / (operations of the products alone / their
time): 1 would be an update that takes no longer than its matrix products.

- Operations are those of matrix products, 2 m k n for m x k by k x n, counted from the layers'
  sizes (`benchmarks.ppo.flops`): for every environment step one forward pass of policy and value
  function, and in each of 4 passes a forward pass and a backward one, which is twice that less the
  gradient for what is observed. Products that our code does beyond these do not count, nor does
  anything else: the environment, sampling, tanh, the loss, shuffling, Adam.
- The rate is that of a compiled float32 program of gradient steps of linear networks of the same
  sizes, on minibatches of the same 2048 rows: exactly the forward and backward products of PPO's
  gradient step, and next to nothing else. Each step needs the weights of the one before.

64 environments of 128 steps. Both programs are compiled before and run by turns; the interval is
the least and the greatest share of two runs in turn.
"""

import statistics

import jax

from benchmarks.harness import Result
from benchmarks.ppo.drivers.ours import setting_out
from benchmarks.ppo.flops import (
    chain,
    gradient_step_flops,
    iteration_flops,
    layer_sizes,
    seconds,
)
from benchmarks.ppo.peers import ratio
from benchmarks.ppo.protocol import Settings
from metarlhf import ppo
from metarlhf.sampling import CompiledSampler

ROW = "ppo-roofline"
REPEATS, UPDATES = 9, 30


def measure(options):
    """Training and its products alone, by turns."""
    repeats, updates = (2, 4) if options.quick else (REPEATS, UPDATES)
    family, task, config = setting_out(Settings(updates=updates))
    start = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    networks = layer_sizes(start.agent)
    per_update = config.epochs * config.minibatches
    rows, steps = config.batch_size // config.minibatches, updates * per_update
    multiply, arguments = chain(networks, rows, steps)
    trained, multiplied = [], []
    for repeat in range(repeats + 1):
        taken = (
            seconds(ppo.iterate_many, start, family, task, config, updates),
            seconds(multiply, *arguments),
        )
        if repeat:  # the first ones compile
            trained.append(updates * iteration_flops(networks, config) / taken[0])
            multiplied.append(steps * gradient_step_flops(networks, rows) / taken[1])
    value, low, high = ratio(trained, multiplied)
    return Result(
        ROW,
        "cartpole",
        value,
        low=low,
        high=high,
        must=0.5,
        aim=0.7,
        seeds=(0,),
        details={
            "gflops_of_training": [1e-9 * rate for rate in trained],
            "gflops_of_products": [1e-9 * rate for rate in multiplied],
            "operations_of_an_iteration": iteration_flops(networks, config),
            "steps_per_second_at_the_products_rate": statistics.median(multiplied)
            * config.batch_size
            / iteration_flops(networks, config),
        },
    )
