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
    is over a token's channels, not over the batch and time, so a token depends on no later one. (B, T, C), causal or
    centred. Cost per token: 3 * C^2 + kernel * C. State: the last kernel - 1 gated tokens.
    """

    def __init__(self, channels: int, kernel: int = 15, causal: bool = True) -> None:
        super().__init__()
        self.grid_ranks = ranks("conformer", causal, 1)
        kernel_size("conformer", kernel, causal)
        self.causal = causal
        self.up = torch.nn.Linear(channels, 2 * channels)
        self.convolution = Depthwise(channels, kernel, causal, bias=True)
        self.norm = torch.nn.LayerNorm(channels)
        self.down = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        return self.convolution.initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, state = self.convolution.step(F.glu(self.up(x), -1), state)
        return self.down(F.silu(self.norm(y))), state
