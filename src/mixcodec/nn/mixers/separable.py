"""Separable convolution."""

import torch

from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.channels.star import StarReLU
from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.state import State


@MIXERS.register("separable")
class Separable(TwoForms):
    """Linear, StarReLU, depthwise convolution, linear: the inverted bottleneck of MobileNetV2 as token mixer.

    ConvFormer of Yu et al., 2022, MetaFormer Baselines for Vision. (B, *grid, C) with `expansion` times the channels
    within; causal along time, or centred on a grid of `rank` 1 or 2 with an odd kernel. Cost per token:
    2 * expansion * C^2 + expansion * C * kernel^rank. State: the last kernel - 1 tokens of the widened channels.
    """

    def __init__(self, channels: int, kernel: int = 7, expansion: float = 2, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("separable", causal, rank)
        kernel_size("separable", kernel, causal)
        hidden = hidden_channels(channels, expansion)
        self.causal = causal
        self.up = torch.nn.Linear(channels, hidden, bias=False)
        self.activation = StarReLU()
        self.convolution = Depthwise(hidden, kernel, causal, rank)
        self.down = torch.nn.Linear(hidden, channels, bias=False)

    def start(self, batch: int) -> State:
        return self.convolution.initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, state = self.convolution.step(self.activation(self.up(x)), state)
        return self.down(y), state
