"""Aggregated attention: a sharp view of the neighbours and a coarse one of everything, in one softmax."""

import math

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, POOLED, Mixer, divides, kernel_size, never_causal, ranks
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import grid_places, neighbours, pool_grid
from mixcodec.registry import whole_number

TEMPERATURE = 1 / 0.24  # of the cosines, at the start


@MIXERS.register("aggregated")
class Aggregated(Mixer):
    """One softmax over the `window` around a token and over pooled tokens of the whole grid, with learned queries and keys.

    Shi, 2024, TransNeXt: Robust Foveal Visual Perception for Vision Transformers. Cosine attention, its temperature times the
    logarithm of the number of keys; a learned query embedding is added to all queries; learned tokens add to the window's
    weights what query and place alone say. Pooled: the means of `pool` places along each axis of gelu(linear(x)), normed;
    how far they are from a token, logarithmically and relative to `extent` places, gives a number by a small network.
    (B, *grid, C), `rank` 1 or 2. Cost per token: 5 * C^2 + 2 * (window^rank + N / pool^rank) * C.
    """

    growth = "quadratic"
    exports = POOLED

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        window: int = 3,
        pool: int = 8,
        extent: int = 64,
        hidden: int = 64,
        rank: int = 1,
        causal: bool = False,
    ) -> None:
        super().__init__()
        never_causal("aggregated", causal, "its pooled tokens are of the whole signal; take 'combiner', which pools the past")
        self.causal, self.grid_ranks = causal, ranks("aggregated", causal, rank)
        self.size = divides("aggregated", channels, heads)
        kernel_size("aggregated", window, causal, "window")
        whole_number("mixer 'aggregated': pool", pool)
        whole_number("mixer 'aggregated': extent", extent, 2)
        whole_number("mixer 'aggregated': hidden", hidden)
        self.heads, self.window, self.pool, self.extent = heads, window, pool, extent
        self.query = torch.nn.Linear(channels, channels)
        self.query_embedding = torch.nn.Parameter(0.02 * torch.randn(heads, self.size))
        self.temperature = torch.nn.Parameter(torch.full((heads,), math.log(math.expm1(TEMPERATURE))))  # softplus gives it
        self.key_value = torch.nn.Linear(channels, 2 * channels)
        self.place = torch.nn.Parameter(4e-4 * torch.randn(heads, window**rank))
        self.tokens = torch.nn.Parameter(0.02 * torch.randn(heads, self.size, window**rank))
        self.tokens_bias = torch.nn.Parameter(torch.zeros(heads, window**rank))
        self.reduce = torch.nn.Linear(channels, channels)
        self.norm = torch.nn.LayerNorm(channels)
        self.far_in = torch.nn.Linear(rank, hidden)
        self.far_out = torch.nn.Linear(hidden, heads)
        self.out = torch.nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape, grid = x.shape, x.shape[1:-1]
        coarse = [max(1, n // self.pool) for n in grid]
        q = F.normalize(split_heads(self.query(x), self.heads), dim=-1).flatten(1, -3)  # (B, N, H, D)
        k, v = (split_heads(part, self.heads) for part in self.key_value(x).chunk(2, -1))
        pair = torch.cat([F.normalize(k, dim=-1), v], -1).flatten(-2)
        near = split_heads(neighbours(pair, self.window).flatten(1, -3), self.heads)  # (B, N, P, H, 2 * D)
        near_k, near_v = near.movedim(-2, 2).chunk(2, -1)  # (B, N, H, P, D)
        inside = neighbours(torch.ones_like(x[:1, ..., :1]), self.window).flatten(1, -3)[..., 0]  # (1, N, P)

        pooled = pool_grid(F.gelu(self.reduce(x)), coarse)
        far_k, far_v = (split_heads(part, self.heads) for part in self.key_value(self.norm(pooled)).chunk(2, -1))

        seen = (inside.sum(-1) + math.prod(coarse)).log()  # of the number of keys
        asked = (q + self.query_embedding) * (F.softplus(self.temperature)[:, None] * seen[..., None, None])
        scores = (near_k @ asked[..., None])[..., 0] + self.place + FAR * (1 - inside[:, :, None])
        far = torch.einsum("bnhd,bmhd->bnhm", asked, F.normalize(far_k, dim=-1)) + self._far_place(grid, coarse, x)
        weights = torch.cat([scores, far], -1).softmax(-1)
        near_w, far_w = weights.split([scores.shape[-1], far.shape[-1]], -1)
        near_w = near_w + torch.einsum("bnhd,hdp->bnhp", q, self.tokens) + self.tokens_bias
        y = (near_w[..., None, :] @ near_v)[..., 0, :] + torch.einsum("bnhm,bmhd->bnhd", far_w, far_v)
        return self.out(y.flatten(-2)).reshape(shape)

    def _far_place(self, grid: torch.Size, coarse: list[int], like: torch.Tensor) -> torch.Tensor:
        """(N, H, M): a number for how far each of the M pooled tokens is from each of the N tokens."""
        rows, columns = grid_places(grid), grid_places(coarse)
        values, index = [], torch.zeros(len(rows), len(columns), dtype=torch.long, device=like.device)
        for axis, (n, m) in enumerate(zip(grid, coarse, strict=True)):
            place = torch.arange(n, dtype=torch.float32, device=like.device)
            apart = (place[:, None] - F.adaptive_avg_pool1d(place[None], m)) / (self.extent - 1) * 8
            each, which = apart.unique(return_inverse=True)  # few differ, so the network sees few
            values.append(each.sign() * (each.abs() + 1).log2() / 3)
            index = index * len(each) + which[rows[:, axis]][:, columns[:, axis]]
        pairs = torch.cartesian_prod(*values).reshape(-1, len(grid)).to(like.dtype)
        number = self.far_out(F.relu(self.far_in(pairs)))
        return number.T[:, index].transpose(0, 1)
