"""Focal modulation."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise, Mean, depthwise_list
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number


@MIXERS.register("focal")
class Focal(TwoForms):
    """out(query * modulator(sum of gated contexts)): ever larger convolutions gather context, a token takes what it wants.

    Yang et al., 2022, Focal Modulation Networks. `levels` depthwise convolutions in a row, their kernels growing by 2 from
    `kernel`, and above them the mean over all tokens (causal: over all so far); each token gates each level. (B, *grid, C),
    causal along time or centred on a grid of `rank` 1 or 2. Cost per token: 4 * C^2 and the kernels. State: the last tokens
    of every level, and the sum and number of all so far.
    """

    def __init__(self, channels: int, kernel: int = 3, levels: int = 3, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("focal", causal, rank)
        kernel_size("focal", kernel, causal)
        whole_number("mixer 'focal': levels", levels, 1, 16)
        self.causal, self.sizes = causal, [channels, channels, levels + 1]
        self.enter = torch.nn.Linear(channels, sum(self.sizes))
        self.levels = depthwise_list(Depthwise(channels, kernel + 2 * i, causal, rank) for i in range(levels))
        self.mean = Mean(channels, causal)
        self.modulator = torch.nn.Linear(channels, channels)
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        state = scoped("mean", self.mean.initial_state(batch))
        for i, level in enumerate(self.levels):
            state |= scoped(f"level{i}", level.initial_state(batch))
        return state

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        query, context, gates = self.enter(x).split(self.sizes, -1)
        after: State = {}
        total = torch.zeros_like(context)
        for i, level in enumerate(self.levels):
            context, new = level.step(context, inside(f"level{i}", state))
            context = F.gelu(context)
            total = total + context * gates[..., i : i + 1]
            after |= scoped(f"level{i}", new)
        mean, new = self.mean.step(context, inside("mean", state))
        total = total + F.gelu(mean) * gates[..., -1:]
        return self.out(query * self.modulator(total)), scoped("mean", new) | after
