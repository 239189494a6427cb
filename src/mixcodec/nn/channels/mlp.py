"""The two-layer perceptron."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, hidden_channels


@CHANNELS.register("mlp")
class Mlp(ChannelMixer):
    """Linear, GELU (its tanh form, or the `exact` one), linear, with `expansion` times the channels between.

    Vaswani et al., 2017, Attention Is All You Need; Hendrycks and Gimpel, 2016, Gaussian Error Linear Units (GELUs).
    (..., C) -> (..., C). Cost per token: 2 * expansion * C^2. No state.
    """

    def __init__(self, channels: int, expansion: float = 4, exact: bool = False) -> None:
        super().__init__()
        hidden = hidden_channels(channels, expansion)
        self.form = "none" if exact else "tanh"
        self.up = torch.nn.Linear(channels, hidden)
        self.down = torch.nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x), approximate=self.form))
