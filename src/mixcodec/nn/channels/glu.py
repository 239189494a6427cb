"""The family of gated linear units."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, hidden_channels
from mixcodec.registry import nearest

GATES = {"sigmoid": torch.sigmoid, "bilinear": lambda x: x, "relu": F.relu, "gelu": F.gelu, "silu": F.silu}


@CHANNELS.register("glu")
class Glu(ChannelMixer):
    """down(gate(a) * b) with (a, b) = up(x): GLU, Bilinear, ReGLU, GEGLU and SwiGLU by the `gate`.

    Dauphin et al., 2016, Language Modeling with Gated Convolutional Networks; Shazeer, 2020, GLU Variants Improve
    Transformer. (..., C) -> (..., C). Cost per token: 3 * expansion * C^2. No state. Kind `gated` is the one with
    silu and no biases.
    """

    def __init__(self, channels: int, expansion: float = 8 / 3, gate: str = "gelu", bias: bool = True) -> None:
        super().__init__()
        if not isinstance(gate, str) or gate not in GATES:
            raise ConfigError(f"channel mixer 'glu' has no gate {gate!r}: {nearest(str(gate), list(GATES))}")
        hidden = hidden_channels(channels, expansion)
        self.gate = gate
        self.up = torch.nn.Linear(channels, 2 * hidden, bias=bias)
        self.down = torch.nn.Linear(hidden, channels, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.up(x).chunk(2, -1)
        return self.down(GATES[self.gate](gate) * value)
