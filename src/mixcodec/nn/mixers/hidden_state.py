"""Mixing in the hidden state."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.mixers.base import MIXERS, Mixer, kernel_size, never_causal, ranks
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.registry import whole_number


@MIXERS.register("hidden_state")
class HiddenState(Mixer):
    """All tokens write into one state of `states` rows, its channels are mixed and gated there, and every token reads it.

    Lee et al., 2024, EfficientViM: Efficient Vision Mamba with Hidden State Mixer based State Space Duality. The state space's
    dual form without order: in place of decays, the time steps are weights, a softmax over the tokens (a learned offset
    of a row, which the authors add, drops out of it). So the layers that cost C^2 work on the state alone, whatever the number
    of tokens. (B, *grid, C), `rank` 1 or 2. Cost per token: 5 * C * states + 3 * states * kernel^rank; once for all
    3 * expansion * C^2 * states.
    """

    def __init__(
        self, channels: int, states: int = 16, expansion: float = 1, kernel: int = 3, rank: int = 1, causal: bool = False
    ) -> None:
        super().__init__()
        never_causal("hidden_state", causal, "one state, mixed once, that all tokens have written, serves all; take 'ssd'")
        self.causal, self.grid_ranks = causal, ranks("hidden_state", causal, rank)
        kernel_size("hidden_state", kernel, causal)
        whole_number("mixer 'hidden_state': states", states, 1, 4096)
        hidden = hidden_channels(channels, expansion)
        self.select = torch.nn.Linear(channels, 3 * states, bias=False)
        self.convolution = Depthwise(3 * states, kernel, False, rank)
        self.up = torch.nn.Linear(channels, 2 * hidden, bias=False)
        self.skip = torch.nn.Parameter(torch.ones(1))
        self.down = torch.nn.Linear(hidden, channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        enter, leave, pace = self.convolution.step(self.select(x), {})[0].flatten(1, -2).chunk(3, -1)  # (B, N, states)
        written = (pace.softmax(1) * enter).mT @ x.flatten(1, -2)  # (B, states, C)
        hidden, gate = self.up(written).chunk(2, -1)
        mixed = self.down(hidden * F.silu(gate) + hidden * self.skip)
        return (leave @ mixed).view_as(x)
