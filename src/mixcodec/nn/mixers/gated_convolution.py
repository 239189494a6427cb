"""The gated convolution block."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.state import State


@MIXERS.register("gated_convolution")
class GatedConvolution(TwoForms):
    """down(gelu(gate(x)) * conv(value(x))): a Mamba block without its state space; `share` * C channels are convolved.

    Yu and Wang, 2024, MambaOut: Do We Really Need Mamba for Vision? (the partial convolution is InceptionNeXt's). The
    channels that are not convolved pass unchanged, which saves the memory traffic that makes depthwise convolutions slow.
    (B, *grid, C), causal along time or centred on a grid of `rank` 1 or 2. Cost per token: 3 * expansion * C^2 and
    kernel^rank a convolved channel. State: the last kernel - 1 tokens of these.
    """

    def __init__(
        self,
        channels: int,
        kernel: int = 7,
        expansion: float = 8 / 3,
        share: float = 1.0,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("gated_convolution", causal, rank)
        kernel_size("gated_convolution", kernel, causal)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise ConfigError(f"mixer 'gated_convolution': share is {share!r}, but must be above 0 and at most 1")
        hidden = hidden_channels(channels, expansion)
        convolved = min(max(1, int(share * channels)), hidden)
        self.causal = causal
        self.sizes = [hidden, hidden - convolved, convolved]
        self.up = torch.nn.Linear(channels, 2 * hidden)
        self.convolution = Depthwise(self.sizes[2], kernel, causal, rank, bias=True)
        self.down = torch.nn.Linear(hidden, channels)

    def start(self, batch: int) -> State:
        return self.convolution.initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        gate, still, moved = self.up(x).split(self.sizes, -1)
        moved, state = self.convolution.step(moved, state)
        return self.down(F.gelu(gate) * torch.cat([still, moved], -1)), state
