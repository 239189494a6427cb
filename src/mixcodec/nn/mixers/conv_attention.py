"""Self-attention inside a convolution's window."""

import torch

from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides, kernel_size, ranks
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import neighbours
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


@MIXERS.register("conv_attention")
class ConvAttention(TwoForms):
    """A token attends to the places of a convolution's window around it, which slides, may be dilated, and may be shifted.

    Zhang et al., 2023, TiC: Exploring Vision Transformer in Convolution. Each head adds a learned number for every place, so
    that nothing depends on the size of the grid. With `shift` the heads look in different directions: the first at the
    token's own window, the others at windows `shift` places ahead or back along each axis in turn, around the edges of the
    grid (causal: every second head `shift` tokens back). (B, *grid, C), causal along time or centred on a grid of `rank` 1
    or 2. Cost per token: 4 * C^2 + 2 * kernel^rank * C. State: keys and values of the last (kernel - 1) * dilation + shift
    tokens, and which of them are real.
    """

    values = "qkv"

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        kernel: int = 7,
        dilation: int = 1,
        shift: int = 0,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("conv_attention", causal, rank)
        divides("conv_attention", channels, heads)
        kernel_size("conv_attention", kernel, causal)
        whole_number("mixer 'conv_attention': dilation", dilation)
        whole_number("mixer 'conv_attention': shift", shift, 0)
        self.channels, self.heads, self.kernel, self.dilation, self.shift = channels, heads, kernel, dilation, shift
        self.causal = causal
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.place = torch.nn.Parameter(torch.zeros(heads, kernel**rank))
        self.out = torch.nn.Linear(channels, channels)

    @property
    def reach(self) -> int:
        """How many earlier tokens a causal one sees."""
        return (self.kernel - 1) * self.dilation + self.shift

    def shifts(self) -> list[tuple[int, int]]:
        """Axis and places by which each head's window is moved."""
        axes = range(1, 1 + self.grid_ranks[0])
        turns = [(1, 0), (1, -1)] if self.causal else [(1, 0), *((axis, sign) for axis in axes for sign in (1, -1))]
        return [(axis, sign * self.shift) for axis, sign in (turns[h % len(turns)] for h in range(self.heads))]

    def start(self, batch: int) -> State:
        past = self.out.weight.new_zeros(batch, self.reach, 2 * self.channels)
        return {"past": past, "real": past[..., 0].clone()} if self.reach else {}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, *kv = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        pair = torch.cat(kv, -1)  # (B, *grid, H, 2 * D): keys and values go the same way
        real, after = torch.ones_like(x[..., 0]), state
        if self.causal and self.reach:
            pair = torch.cat([state["past"].to(x.dtype).unflatten(-1, (self.heads, -1)), pair], 1)
            real = torch.cat([state["real"].to(x.dtype), real], 1)
            after = {"past": pair[:, -self.reach :].flatten(-2), "real": real[:, -self.reach :]}
        pair = torch.cat([pair, real[..., None, None].expand(*pair.shape[:-1], 1)], -1)
        heads = [self._moved(part, axis, by) for part, (axis, by) in zip(pair.unbind(-2), self.shifts(), strict=True)]
        around = torch.stack([neighbours(part, self.kernel, self.dilation, not self.causal) for part in heads], -3)
        size = q.shape[-1]
        k, v, real = around[..., :size], around[..., size:-1], around[..., -1]  # (B, *grid, H, P, ..)
        scores = (k @ q[..., None])[..., 0] * size**-0.5 + self.place + FAR * (1 - real)
        y = (scores.softmax(-1)[..., None, :] @ v)[..., 0, :]
        return self.out(y.flatten(-2)), after

    def _moved(self, x: torch.Tensor, axis: int, by: int) -> torch.Tensor:
        """x (B, *grid, ..) so that a token finds at its place what is `by` places further."""
        if not self.causal:
            return x.roll(-by, axis)
        return x[:, self.shift + by : x.shape[1] + by]
