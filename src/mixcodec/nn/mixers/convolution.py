"""Depthwise convolution over time."""

import torch

from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import CONVOLVE
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


@MIXERS.register("convolution")
class Convolution(TwoForms):
    """Depthwise convolution: y[t] = sum_i w[i] x[t - kernel + 1 + i] + b, each channel with its own w.

    The token mixer of ConvNeXt (Liu et al., 2022, A ConvNet for the 2020s). (B, *grid, C), linear; causal along time as
    above, or centred, `kernel` odd, on a grid of `rank` 1 or 2. Cost per token: C * kernel^rank. State: the last kernel - 1
    tokens.
    """

    linear = True

    def __init__(self, channels: int, kernel: int = 7, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        whole_number("mixer 'convolution': kernel", kernel, 2)
        self.causal, self.grid_ranks = causal, ranks("convolution", causal, rank)
        kernel_size("convolution", kernel, causal)
        self.channels, self.kernel = channels, kernel
        self.weight = torch.nn.Parameter(torch.empty(channels, 1, *[kernel] * rank).uniform_(-1, 1) / kernel ** (rank / 2))
        self.bias = torch.nn.Parameter(torch.zeros(channels))

    def start(self, batch: int) -> State:
        return {"past": self.weight.new_zeros(batch, self.kernel - 1, self.channels)}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        padding = 0 if self.causal else self.kernel // 2
        if self.causal:
            x = torch.cat([state["past"].to(x.dtype), x], 1)
            state = {"past": x[:, -(self.kernel - 1) :]}
        y = CONVOLVE[x.ndim - 2](x.movedim(-1, 1), self.weight, self.bias, padding=padding, groups=self.channels)
        return y.movedim(1, -1), state
