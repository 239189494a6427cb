"""Local tokens by convolution and global tokens by attention, fused."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, POOLED, Mixer, divides, kernel_size, never_causal, ranks
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.mixers.windows import pool_grid
from mixcodec.registry import whole_number


@MIXERS.register("dual_token")
class DualToken(Mixer):
    """out([local, global]): a depthwise convolution's tokens, and what each token asks of a few that know the whole grid.

    Chu et al., 2023, DualToken-ViT: Position-aware Efficient Vision Transformer with Dual Token Fusion. The grid is pooled to
    `tokens` means along every axis; a learned token for each region is added, so that they know their places; they attend to
    each other, and every token of the grid attends to them. (The paper hands these on from layer to layer; here each layer
    has its own.) (B, *grid, C), `rank` 1 or 2. Cost per token: 4 * C^2 + kernel^rank * C + 2 * tokens^rank * C.
    """

    exports = POOLED

    def __init__(
        self, channels: int, heads: int = 4, tokens: int = 4, kernel: int = 7, rank: int = 1, causal: bool = False
    ) -> None:
        super().__init__()
        why = "its global tokens are means over regions of the whole signal; take 'interleaved', whose latents see the past"
        never_causal("dual_token", causal, why)
        self.causal, self.grid_ranks = causal, ranks("dual_token", causal, rank)
        divides("dual_token", channels, heads)
        kernel_size("dual_token", kernel, causal)
        whole_number("mixer 'dual_token': tokens", tokens, 1, 64)
        self.heads, self.regions = heads, [tokens] * rank
        self.convolution = Depthwise(channels, kernel, False, rank, bias=True)
        self.local_norm = torch.nn.LayerNorm(channels)
        self.local = torch.nn.Linear(channels, channels)
        self.places = torch.nn.Parameter(torch.randn(tokens**rank, channels))
        self.norm = torch.nn.LayerNorm(channels)
        self.gather = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.query = torch.nn.Linear(channels, channels, bias=False)
        self.spread = torch.nn.Linear(channels, 2 * channels, bias=False)
        self.out = torch.nn.Linear(2 * channels, channels)

    def _attend(self, *parts: torch.Tensor) -> torch.Tensor:
        q, k, v = (split_heads(part, self.heads).transpose(1, 2) for part in parts)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def global_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """(B, tokens^rank, C): what each region's token knows after it has seen the others."""
        pooled = pool_grid(x, self.regions) + self.places
        return pooled + self._attend(*self.gather(self.norm(pooled)).chunk(3, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        local = F.gelu(self.local(self.local_norm(self.convolution.step(x, {})[0])))
        wide = self._attend(self.query(x.flatten(1, -2)), *self.spread(self.global_tokens(x)).chunk(2, -1))
        return self.out(torch.cat([local, wide.reshape(x.shape)], -1))
