"""The network of the drivers in PyTorch."""

import math
from itertools import pairwise

from torch import nn


def perceptron(sizes: tuple[int, ...], final_gain: float) -> nn.Sequential:
    """Tanh layers, orthogonal at the start."""
    layers: list[nn.Module] = []
    for i, (above, below) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        linear = nn.Linear(above, below)
        nn.init.orthogonal_(linear.weight, final_gain if last else math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, nn.Tanh()]
    return nn.Sequential(*layers)
