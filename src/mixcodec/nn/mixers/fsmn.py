"""Gated feed-forward sequential memory."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise, depthwise_list
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number


@MIXERS.register("fsmn")
class Fsmn(TwoForms):
    """out(gate(x) * (u(x) + memory(u(x)))), the memory made of densely connected, ever more dilated depthwise convolutions.

    Zhao et al., 2024, MossFormer2: Combining Transformer and RNN-Free Recurrent Network (the memory: Zhang et al., 2015,
    Feedforward Sequential Memory Networks). Layer i sees the outputs of all layers before it and is dilated by 2^i: a long
    reach without a recurrence. (Here the layers have no InstanceNorm, which sees the whole signal, and mix what each channel
    was before, where the authors' groups are neighbours among all earlier channels; u and the gate aren't convolved first, and
    x isn't added to their product, nor that normed.) (B, *grid, C), causal along time or centred on a grid of `rank` 1 or 2.
    Cost per token: about 5 * C^2 + depth^2 / 2 * C * kernel^rank. State: what each layer has last seen, (kernel - 1) * 2^i
    tokens of (i + 1) * C.
    """

    def __init__(
        self,
        channels: int,
        kernel: int = 5,
        depth: int = 2,
        expansion: float = 1,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("fsmn", causal, rank)
        kernel_size("fsmn", kernel, causal)
        whole_number("mixer 'fsmn': depth", depth, 1, 12)
        hidden = hidden_channels(channels, expansion)
        self.causal = causal
        self.enter = torch.nn.Linear(channels, 2 * channels)
        self.up = torch.nn.Linear(channels, hidden)
        self.project = torch.nn.Linear(hidden, channels, bias=False)
        self.layers = depthwise_list(
            Depthwise((i + 1) * channels, kernel, causal, rank, dilation=2**i, outputs=channels, groups=channels)
            for i in range(depth)
        )
        self.slopes = torch.nn.Parameter(torch.full((depth, channels), 0.25))
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        state: State = {}
        for i, layer in enumerate(self.layers):
            state |= scoped(f"layer{i}", layer.initial_state(batch))
        return state

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        gate, u = F.silu(self.enter(x)).chunk(2, -1)
        seen = [self.project(F.relu(self.up(u)))]
        after: State = {}
        for i, layer in enumerate(self.layers):
            grouped = torch.stack(seen, -1).flatten(-2)  # the i + 1 numbers of a channel stand together: its group
            y, new = layer.step(grouped, inside(f"layer{i}", state))
            seen.append(torch.where(y > 0, y, y * self.slopes[i]))
            after |= scoped(f"layer{i}", new)
        return self.out(gate * (u + seen[-1])), after
