"""The two-layer perceptron with StarReLU."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, hidden_channels

SCALE, BIAS = 0.8944271909999159, -0.4472135954999579  # sqrt(4 / 5), -sqrt(1 / 5)


class StarReLU(torch.nn.Module):
    """scale * relu(x)^2 + bias, both learned; at the start a standard normal x comes out with mean 0 and variance 1.

    Yu et al., 2022, MetaFormer Baselines for Vision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((1,), SCALE))
        self.bias = torch.nn.Parameter(torch.full((1,), BIAS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * F.relu(x).square() + self.bias


@CHANNELS.register("star_mlp")
class StarMlp(ChannelMixer):
    """Linear, StarReLU, linear, with `expansion` times the channels between and no biases: cheaper than GELU.

    Yu et al., 2022, MetaFormer Baselines for Vision. (..., C) -> (..., C). Cost per token: 2 * expansion * C^2. No state.
    """

    def __init__(self, channels: int, expansion: float = 4) -> None:
        super().__init__()
        hidden = hidden_channels(channels, expansion)
        self.up = torch.nn.Linear(channels, hidden, bias=False)
        self.activation = StarReLU()
        self.down = torch.nn.Linear(hidden, channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.up(x)))
