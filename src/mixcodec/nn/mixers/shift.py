"""Mix-shift."""

import torch

from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise, depthwise_list
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number


@MIXERS.register("shift")
class Shift(TwoForms):
    """Groups of channels are shifted ever farther and convolved by ever larger kernels: the near in detail, the far blurred.

    Zheng et al., 2022, Mixing and Shifting: Exploiting Global and Local Dependencies in Vision MLPs. On each axis group i of
    `groups` moves by i * `stride` into the past and is convolved with `kernel` + 2 i taps. Not causal: the groups move by
    (i - groups // 2) * stride, around the end, the taps growing with the distance; on a grid of `rank` 2 every group moves along
    either axis, each with kernels of its own, and the two are summed. (B, *grid, C), linear. Cost per token: about
    (kernel + groups) * C, on a plane twice its square. State: for each group the tokens it waits for.
    """

    linear = True

    def __init__(
        self, channels: int, groups: int = 4, stride: int = 2, kernel: int = 3, causal: bool = True, rank: int = 1
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("shift", causal, rank)
        kernel_size("shift", kernel, causal)
        size = divides("shift", channels, groups, "groups")
        whole_number("mixer 'shift': stride", stride)
        self.causal, self.count = causal, groups
        self.offsets = [i * stride if causal else (i - groups // 2) * stride for i in range(groups)] * rank
        self.axes = [1 + i // groups for i in range(groups * rank)]
        self.groups = depthwise_list(
            Depthwise(
                size,
                kernel + 2 * (abs(offset) // stride),
                causal,
                rank,
                delay=offset if causal else 0,
                bias=True,
            )
            for offset in self.offsets
        )

    def start(self, batch: int) -> State:
        state: State = {}
        for i, group in enumerate(self.groups):
            state |= scoped(f"group{i}", group.initial_state(batch))
        return state

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        parts = list(x.chunk(self.count, -1)) * (x.ndim - 2)
        if not self.causal:
            parts = [part.roll(by, axis) for part, by, axis in zip(parts, self.offsets, self.axes, strict=True)]
        after: State = {}
        for i, group in enumerate(self.groups):
            parts[i], new = group.step(parts[i], inside(f"group{i}", state))
            after |= scoped(f"group{i}", new)
        branches = torch.cat(parts, -1).chunk(x.ndim - 2, -1)  # one an axis
        return sum(branches[1:], branches[0]), after
