"""Pooling at several granularities, and its fusion."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import COUNTED, MIXERS, TwoForms, divides, kernel_size
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR, MAXIMUM, Maximum, Mean
from mixcodec.nn.mixers.scan import wide
from mixcodec.nn.mixers.windows import Groups
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number

MOST = 20.0  # a score's size in the causal form: sums of exp(score) then stay well within float32


def running_maximum(x: torch.Tensor, axis: int) -> torch.Tensor:
    """The maximum of all places up to each along `axis`, by doubling."""
    by, length = 1, x.shape[axis]
    while by < length:
        x = torch.cat(
            [x.narrow(axis, 0, by), torch.maximum(x.narrow(axis, by, length - by), x.narrow(axis, 0, length - by))], axis
        )
        by *= 2
    return x


@MIXERS.register("multi_pooling")
class MultiPooling(TwoForms):
    """whole * token + segment * token + near: an attentive mean of all, the maximum of a segment, that of the neighbours.

    Tan et al., 2021, PoNet: Pooling Network for Efficient Token Mixing in Long Sequences. The whole is an attention with a
    single query, the mean of all tokens' queries: linear in their number. Segments are `segment` tokens long (on each axis),
    neighbours at most kernel // 2 away. (B, *grid, C) of any rank, or causal along time: then the whole goes up to the
    token, each of the past weighed by the mean query when it came, the segment also ends with it, and the neighbours are the
    last `kernel` tokens. Cost per token: 6 * C^2. State: the mean's and the whole's sums, the
    unfinished segment, and the last kernel - 1 tokens of the neighbours with which of them are real.
    """

    exports = COUNTED

    def __init__(self, channels: int, heads: int = 4, segment: int = 8, kernel: int = 3, causal: bool = True) -> None:
        super().__init__()
        self.size = divides("multi_pooling", channels, heads)
        kernel_size("multi_pooling", kernel, causal)
        self.heads, self.causal, self.channels = heads, causal, channels
        self.segment = whole_number("mixer 'multi_pooling': segment", segment, 2, 1 << 14)
        self.grid_ranks = (1,) if causal else (1, 2, 3)
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.mean = Mean(channels, causal)
        self.token = torch.nn.Linear(channels, channels)
        self.pooled = torch.nn.Linear(channels, 2 * channels)
        self.near = Maximum(channels, kernel, causal)
        self.groups = Groups(segment, channels)

    def start(self, batch: int) -> State:
        sums = torch.zeros(batch, self.heads, self.size + 1, device=self.token.weight.device)
        parts = {"mean": self.mean.initial_state(batch), "near": self.near.initial_state(batch)}
        parts["segment"] = self.groups.initial_state(batch, sums)
        return {"sums": sums} | {name: t for prefix, state in parts.items() for name, t in scoped(prefix, state).items()}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = self.qkv(x).chunk(3, -1)
        token = self.token(x)
        mean, after = self.mean.step(q, inside("mean", state))
        far, near = self.pooled(x).chunk(2, -1)
        near, local = self.near.step(near, inside("near", state))
        after = scoped("mean", after) | scoped("near", local)
        mean, k, v = (split_heads(wide(part), self.heads) for part in (mean, k, v))
        score = (mean * k).sum(-1, keepdim=True) * self.size**-0.5
        if self.causal:
            weight = score.clamp(-MOST, MOST).exp()
            sums = (torch.cat([v, torch.ones_like(weight)], -1) * weight).cumsum(1) + state["sums"].to(v)[:, None]
            whole = sums[..., :-1] / sums[..., -1:]
            split = self.groups.split(far, far[..., :1], inside("segment", state))
            segment = self.groups.join(running_maximum(split.groups, 2), split)
            after |= {"sums": sums[:, -1]} | scoped("segment", split.after)
        else:
            grid = tuple(range(1, x.ndim - 1))
            weight = score.flatten(1, -3).softmax(1).view_as(score)
            whole = (weight * v).sum(grid, keepdim=True)
            segment = self.segments(far)
        return (whole.flatten(-2).to(x.dtype) + segment) * token + near, after

    def segments(self, x: torch.Tensor) -> torch.Tensor:
        """The maximum of each token's segment of x (B, *grid, C)."""
        dense = x.movedim(-1, 1)
        grid = dense.shape[2:]
        full = F.pad(dense, [p for n in reversed(grid) for p in (0, -n % self.segment)], value=FAR)
        y = MAXIMUM[len(grid)](full, self.segment)
        for axis, n in enumerate(grid, 2):
            y = y.repeat_interleave(self.segment, axis).narrow(axis, 0, n)
        return y.movedim(1, -1)
