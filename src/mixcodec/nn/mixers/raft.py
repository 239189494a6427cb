"""Raft mixing."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.mixers.base import MIXERS, Export, TwoForms, divides, ranks
from mixcodec.nn.state import State
from mixcodec.registry import whole_number

RESIZE = {1: "linear", 2: "bicubic"}


class AxisRaft(torch.nn.Module):
    """Linear, GELU, linear over `size` tokens of one axis and `raft` channels together: (B, *grid, C) -> (B, *grid, C).

    Channels c, c + C / raft, .. are a raft. Causal: from the last `size` tokens to the token, moved along; places before
    the signal are zero. State: the last size - 1 tokens.
    """

    def __init__(self, channels: int, size: int, raft: int, expansion: float, causal: bool) -> None:
        super().__init__()
        self.channels, self.size, self.raft, self.causal = channels, size, raft, causal
        hidden = hidden_channels(size * raft, expansion)
        self.inner = torch.nn.Linear(size * raft, hidden)
        self.outer = torch.nn.Linear(hidden, raft if causal else size * raft)

    def initial_state(self, batch: int) -> State:
        return {"past": self.inner.weight.new_zeros(batch, self.size - 1, self.channels)}

    def across(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        """Not causal, along one axis of `size` tokens."""
        rows = x.movedim(axis, -2).unflatten(-1, (self.raft, -1)).movedim(-1, -3)  # (.., C / raft, size, raft)
        y = self.outer(F.gelu(self.inner(rows.flatten(-2)))).view_as(rows)
        return y.movedim(-3, -1).flatten(-2).movedim(-2, axis)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        seen = torch.cat([state["past"].to(x.dtype), x], 1)
        rows = seen.unflatten(-1, (self.raft, -1)).permute(0, 3, 2, 1).flatten(0, 1)  # (B * C / raft, raft, T)
        kernel = self.inner.weight.unflatten(-1, (self.size, self.raft)).mT  # Linear's inputs are (size, raft)
        y = F.conv1d(F.gelu(F.conv1d(rows, kernel, self.inner.bias)), self.outer.weight[..., None], self.outer.bias)
        y = y.reshape(-1, self.channels // self.raft, self.raft, x.shape[1]).permute(0, 3, 2, 1).flatten(2)
        return y, {"past": seen[:, -(self.size - 1) :]}


@MIXERS.register("raft")
class Raft(TwoForms):
    """A perceptron along each axis in turn, which sees a few channels, a raft, at once; with norm and residual between.

    Tatsunami and Taki, 2021, RaftMLP: How Much Can Be Done Without Attention and with Less Spatial Locality? (Here the second
    axis sees the norm of the normed tokens plus what the first made of them; the authors add that to the un-normed ones,
    which a block doesn't show its mixer.) (B, *grid, C), `rank` 1 or 2, made for `size` tokens on an axis: another grid is
    resized to that, mixed, and resized back. Or causal over the last `size` tokens. Cost per token: 2 * expansion * raft *
    size * C an axis (causal: hidden * (size + 1) * C with hidden = expansion * raft * size), and as many parameters as
    2 * expansion * (raft * size)^2 an axis. State: the last size - 1 tokens.
    """

    def __init__(
        self,
        channels: int,
        size: int = 16,
        raft: int = 2,
        expansion: float = 1,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("raft", causal, rank)
        divides("raft", channels, raft, "raft")
        self.causal, self.size = causal, whole_number("mixer 'raft': size", size, 2, 1 << 12)
        if rank == 2:
            self.exports = Export("none", "onnxruntime makes a plane larger by cubic interpolation, but not smaller")
        parts = torch.nn.ModuleList(AxisRaft(channels, size, raft, expansion, causal) for _ in range(rank))
        self.axes = cast(Sequence[AxisRaft], parts)
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(channels) for _ in range(rank - 1))

    def start(self, batch: int) -> State:
        return self.axes[0].initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if self.causal:
            return self.axes[0].step(x, state)
        grid = x.shape[1:-1]
        x = self.resize(x, [self.size] * len(grid))
        y = self.axes[0].across(x, 1)
        for axis, (norm, part) in enumerate(zip(self.norms, self.axes[1:], strict=True), 2):
            y = y + part.across(norm(x + y), axis)
        return self.resize(y, grid), {}

    def resize(self, x: torch.Tensor, grid: list[int] | torch.Size) -> torch.Tensor:
        """(B, *grid, C) on another grid, by cubic (on a line linear) interpolation."""
        if list(x.shape[1:-1]) == list(grid):
            return x
        y = F.interpolate(x.float().movedim(-1, 1), tuple(grid), mode=RESIZE[len(grid)])
        return y.movedim(1, -1).to(x.dtype)
