"""The two-layer perceptron."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, hidden_channels


@CHANNELS.register("mlp")
class Mlp(ChannelMixer):
    """Linear, GELU, linear, with `expansion` times the channels between."""

    def __init__(self, channels: int, expansion: float = 4) -> None:
        super().__init__()
        hidden = hidden_channels(channels, expansion)
        self.up = torch.nn.Linear(channels, hidden)
        self.down = torch.nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))
