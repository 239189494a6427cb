"""Convolutional modulation that keeps edges."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.branches import Edges
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


@MIXERS.register("edge_modulation")
class EdgeModulation(TwoForms):
    """out(value(x) * convolve(gelu(context(x)))): a large depthwise kernel, with a small one that sees edges in it.

    The mixer of the ConvFormer layer of Wu et al., 2024, Transforming Image Super-Resolution: A ConvFormer-based Efficient
    Approach (CFSR); channel mixer `edge_mlp` is the layer's other half. (B, *grid, C), causal along time or centred on a grid
    of `rank` 1 or 2. Cost per token: 3 * C^2 + C * kernel^rank. State: the last kernel - 1 contexts.
    """

    def __init__(self, channels: int, kernel: int = 9, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("edge_modulation", causal, rank)
        kernel_size("edge_modulation", whole_number("mixer 'edge_modulation': kernel", kernel, 3), causal)
        self.causal = causal
        self.context = torch.nn.Linear(channels, channels)
        self.convolution = Edges(channels, kernel, causal, rank)
        self.value = torch.nn.Linear(channels, channels)
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        return self.convolution.initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, state = self.convolution.step(F.gelu(self.context(x)), state)
        return self.out(self.value(x) * y), state
