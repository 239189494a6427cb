"""Multi-head mixed convolution with scale-aware aggregation."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise, depthwise_list
from mixcodec.nn.state import State, inside, scoped


@MIXERS.register("mixed_convolution")
class MixedConvolution(TwoForms):
    """out(value(x) * aggregate(convolve(x))): each head of channels has its own kernel, and small groups mix across heads.

    Lin et al., 2023, Scale-Aware Modulation Meet Transformer. Head i is convolved with `kernel` + 2 i taps on an axis;
    the channels are then regrouped, so that a group has one channel of every head, and each group is mixed by its own
    `heads` -> 2 `heads` matrix; a linear map of that multiplies the values. (B, *grid, C), causal along time or centred on
    a grid of `rank` 1 or 2. Cost per token: 5 * C^2 + the kernels. State: the last kernel - 1 tokens of each head.
    """

    def __init__(self, channels: int, kernel: int = 3, heads: int = 4, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("mixed_convolution", causal, rank)
        kernel_size("mixed_convolution", kernel, causal)
        size = divides("mixed_convolution", channels, heads)
        self.causal, self.count = causal, heads
        self.value = torch.nn.Linear(channels, channels)
        self.context = torch.nn.Linear(channels, channels)
        self.heads = depthwise_list(Depthwise(size, kernel + 2 * i, causal, rank, bias=True) for i in range(heads))
        self.groups = torch.nn.Parameter(torch.randn(size, heads, 2 * heads) / heads**0.5)
        self.aggregate = torch.nn.Linear(2 * channels, channels)
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        state: State = {}
        for i, head in enumerate(self.heads):
            state |= scoped(f"head{i}", head.initial_state(batch))
        return state

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        parts: list[torch.Tensor] = []
        after: State = {}
        for i, (head, part) in enumerate(zip(self.heads, self.context(x).chunk(self.count, -1), strict=True)):
            y, new = head.step(part, inside(f"head{i}", state))
            parts.append(y)
            after |= scoped(f"head{i}", new)
        grouped = torch.stack(parts, -1)  # (B, *grid, group, head)
        mixed = F.gelu((grouped[..., None, :] @ self.groups).flatten(-3))
        return self.out(self.value(x) * self.aggregate(mixed)), after
