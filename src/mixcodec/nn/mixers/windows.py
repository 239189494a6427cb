"""The one partition of tokens: windows of a grid, neighbourhoods, bands of a stream, and groups of a stream.

A stream's tokens come in blocks of any length, so a group may be unfinished when a block ends. What mixers keep of it
is in their state; here nothing is kept. All shapes are functions of the block's length alone, so they can be exported.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from mixcodec.nn.state import State

LEAST_BAND = 16  # queries done together, at least


def window_counts(grid: Sequence[int], size: int, shift: int = 0) -> list[int]:
    """How many windows of `size`, the first one beginning `shift` places before the grid, cover each of its axes."""
    return [-(-(n + shift) // size) for n in grid]


def partition(x: torch.Tensor, size: int, shift: int = 0, overlap: int = 0) -> torch.Tensor:
    """Windows (B, N, (size + 2 * overlap)^rank, C) of x (B, *grid, C), zeros outside the grid.

    The first window begins `shift` places before the grid on every axis, and each is widened by `overlap` on all sides.
    """
    grid, rank = x.shape[1:-1], x.ndim - 2
    pads = [0, 0]
    for n, count in zip(reversed(grid), reversed(window_counts(grid, size, shift)), strict=True):
        pads += [shift + overlap, count * size - n - shift + overlap]
    x = F.pad(x, pads)
    for axis in range(1, rank + 1):
        x = x.unfold(axis, size + 2 * overlap, size)
    return x.movedim(rank + 1, -1).flatten(rank + 1, -2).flatten(1, rank)


def merge(y: torch.Tensor, grid: Sequence[int], size: int, shift: int = 0) -> torch.Tensor:
    """Back from windows (B, N, size^rank, C) that don't overlap to (B, *grid, C): what `partition` took apart."""
    rank, counts = len(grid), window_counts(grid, size, shift)
    y = y.unflatten(2, [size] * rank).unflatten(1, counts)
    y = y.permute(0, *(axis for i in range(rank) for axis in (1 + i, 1 + rank + i)), -1)
    y = y.reshape(y.shape[0], *(count * size for count in counts), y.shape[-1])
    return y[(slice(None), *(slice(shift, shift + n) for n in grid))]


def window_places(size: int, rank: int, overlap: int = 0) -> torch.Tensor:
    """(P, rank): where the P places of a window, widened by `overlap`, lie; its own first place is at zero."""
    axis = torch.arange(-overlap, size + overlap)
    return torch.cartesian_prod(*[axis] * rank).reshape(-1, rank)


def grid_places(grid: Sequence[int]) -> torch.Tensor:
    """(N, rank): where the tokens of a grid lie, in order."""
    return torch.cartesian_prod(*(torch.arange(n) for n in grid)).reshape(-1, len(grid))


def pool_grid(x: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """(B, *grid, C) -> (B, N, C): the means of `counts` regions along each axis, rank 1 or 2."""
    y = x.movedim(-1, 1)
    y = F.adaptive_avg_pool1d(y, counts[0]) if len(counts) == 1 else F.adaptive_avg_pool2d(y, (counts[0], counts[1]))
    return y.flatten(2).mT


def neighbours(x: torch.Tensor, kernel: int, dilation: int = 1, centred: bool = True) -> torch.Tensor:
    """(B, *grid, C) -> (B, *grid, kernel^rank, C): the tokens in a convolution's window around each, zeros outside.

    Not centred: x is (B, past + T, C) with past = (kernel - 1) * dilation, and each of the last T tokens gets itself, last,
    and those before it.
    """
    reach = (kernel - 1) * dilation
    rank = x.ndim - 2
    if centred:
        x = F.pad(x, (0, 0, *[reach // 2] * (2 * rank)))
    grid = [n - reach for n in x.shape[1:-1]]
    views = []
    for offsets in itertools.product(range(0, reach + 1, dilation), repeat=rank):
        views.append(x[(slice(None), *(slice(o, o + n) for o, n in zip(offsets, grid, strict=True)))])
    return torch.stack(views, -2)


def band_size(length: int, past: int) -> int:
    """How many of `length` queries, which see `past` tokens before them, are best done together; zero: all of them."""
    size = max(past, LEAST_BAND)
    return 0 if torch.compiler.is_exporting() or length <= 2 * size else size


def band(x: torch.Tensor, past: int, size: int) -> torch.Tensor:
    """(B, past + T, ..) -> (B * N, past + size, ..): the N bands of `size` tokens, each with the `past` tokens before it.

    So a window that slides costs in proportion to T. With size zero all is one band: x itself.
    """
    if not size:
        return x
    count = -(-(x.shape[1] - past) // size)
    x = torch.cat([x, x.new_zeros(x.shape[0], past + count * size - x.shape[1], *x.shape[2:])], 1)
    return x.unfold(1, past + size, size).movedim(-1, 2).flatten(0, 1)


def unband(y: torch.Tensor, batch: int, length: int) -> torch.Tensor:
    """Back from bands (B * N, size, ..) without past to (B, T, ..)."""
    return y if y.shape[1] == length and y.shape[0] == batch else y.reshape(batch, -1, *y.shape[2:])[:, :length]


def latest(memory: torch.Tensor, new: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """The memory (B, M, ..) after the first `count` (B, 1) of `new` (B, N, ..) have come: the last M of all."""
    return take(torch.cat([memory.to(new.dtype), new], 1), count + torch.arange(memory.shape[1], device=new.device))


def take(x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """(B, N, ..) and whole numbers (B, M) -> (B, M, ..): row place[b, m] of item b."""
    index = place.reshape(*place.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
    return x.gather(1, index)


class Split(NamedTuple):
    """The N groups of a stream in which a block's tokens are, from the unfinished one on, and the state after the block."""

    groups: torch.Tensor  # (B, N, size, C), zeros after the end
    others: torch.Tensor  # (B, N, size, C'), what is not kept: zeros before the block too
    full: torch.Tensor  # (B, 1), how many of the groups are full, whole numbers
    place: torch.Tensor  # (B, T), at which of the N * size places the block's tokens are
    after: State


class Groups:
    """The groups of `size` tokens of a stream of (B, T, C) numbers, the unfinished one in the state.

    State: `past`, the last size - 1 tokens, and `phase`, how many of them are of the unfinished group.
    """

    def __init__(self, size: int, channels: int) -> None:
        self.size, self.channels = size, channels

    def initial_state(self, batch: int, like: torch.Tensor) -> State:
        past = like.new_zeros(batch, self.size - 1, self.channels)
        return {"past": past, "phase": torch.zeros(batch, 1, device=like.device)}

    def split(self, x: torch.Tensor, others: torch.Tensor, state: State) -> Split:
        """Lays the next tokens (B, T, C), and numbers of theirs that no later block needs, (B, T, C'), into groups."""
        size, length = self.size, x.shape[1]
        count = (length + 2 * size - 2) // size
        phase = state["phase"].to(x.device).round().long()
        place = torch.arange(count * size, device=x.device)[None] + (size - 1 - phase)
        past = torch.cat([state["past"].to(x.dtype), x], 1)
        before = others.new_zeros(x.shape[0], size - 1, others.shape[2])
        laid = []
        for part in (past, torch.cat([before, others], 1)):
            ended = torch.cat([part, part.new_zeros(x.shape[0], count * size, part.shape[2])], 1)
            laid.append(take(ended, place).reshape(x.shape[0], count, size, part.shape[2]))
        total = phase + length
        full = total // size
        after = {"past": past[:, length:], "phase": (total - full * size).to(torch.float32)}
        return Split(laid[0], laid[1], full, torch.arange(length, device=x.device)[None] + phase, after)

    def join(self, y: torch.Tensor, split: Split) -> torch.Tensor:
        """The block's tokens (B, T, C) out of y (B, N, size, C)."""
        return take(y.flatten(1, 2), split.place)
