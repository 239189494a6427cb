"""Depthwise convolution over time."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, Mixer
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


@MIXERS.register("convolution")
class Convolution(Mixer):
    """Causal depthwise convolution: y[t] = sum_i w[i] x[t - kernel + 1 + i] + b, each channel with its own w.

    The token mixer of ConvNeXt (Liu et al., 2022, A ConvNet for the 2020s), causal. State: the last kernel - 1 tokens.
    """

    causal = True
    grid_ranks = (1,)
    linear = True

    def __init__(self, channels: int, kernel: int = 7) -> None:
        super().__init__()
        whole_number("mixer 'convolution': kernel", kernel, 2)
        self.channels, self.kernel = channels, kernel
        self.weight = torch.nn.Parameter(torch.empty(channels, 1, kernel).uniform_(-1, 1) / kernel**0.5)
        self.bias = torch.nn.Parameter(torch.zeros(channels))

    def initial_state(self, batch: int) -> State:
        return {"past": self.weight.new_zeros(batch, self.kernel - 1, self.channels)}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        seen = torch.cat([state["past"].to(x.dtype), x], 1)
        y = F.conv1d(seen.transpose(1, 2), self.weight, self.bias, groups=self.channels)
        return y.transpose(1, 2), {"past": seen[:, -(self.kernel - 1) :]}
