"""The gated linear unit."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, hidden_channels


@CHANNELS.register("gated")
class Gated(ChannelMixer):
    """down(silu(gate(x)) * up(x)) with `expansion` times the channels between.

    Shazeer, 2020, GLU Variants Improve Transformer. (..., C) -> (..., C). Cost per token: 3 * expansion * C^2. No state.
    """

    def __init__(self, channels: int, expansion: float = 8 / 3) -> None:
        super().__init__()
        hidden = hidden_channels(channels, expansion)
        self.up = torch.nn.Linear(channels, 2 * hidden, bias=False)
        self.down = torch.nn.Linear(hidden, channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)
