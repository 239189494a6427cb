"""The Conformer's convolution module."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.state import State


@MIXERS.register("conformer")
class Conformer(TwoForms):
    """Linear, GLU, depthwise convolution, norm, SiLU, linear.

    Gulati et al., 2020, Conformer: Convolution-augmented Transformer for Speech Recognition; causal with a cache as in
    Noroozi et al., 2024, Stateful Conformer with Cache-based Inference for Streaming Automatic Speech Recognition. The norm
    is over a token's channels, not over the batch and time, so a token depends on no later one. (B, *grid, C),
    causal along time or centred on a grid of `rank` 1 or 2. Cost per token: 3 * C^2 + kernel^rank * C. State: the last
    kernel - 1 gated tokens.
    """

    def __init__(self, channels: int, kernel: int = 15, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("conformer", causal, rank)
        kernel_size("conformer", kernel, causal)
        self.causal = causal
        self.up = torch.nn.Linear(channels, 2 * channels)
        self.convolution = Depthwise(channels, kernel, causal, rank, bias=True)
        self.norm = torch.nn.LayerNorm(channels)
        self.down = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        return self.convolution.initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, state = self.convolution.step(F.glu(self.up(x), -1), state)
        return self.down(F.silu(self.norm(y))), state
