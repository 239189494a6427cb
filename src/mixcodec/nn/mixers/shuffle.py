"""Attention among tokens and channels that were shuffled."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, Export, Mixer, divides, never_causal
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import partition
from mixcodec.registry import whole_number


@MIXERS.register("shuffle")
class Shuffle(Mixer):
    """Channels at random in groups, a group's numbers at random over the grid, attention in small windows, all back again.

    The two-dimensional shuffle mixer (TDSM) of Cao et al., 2025, RelaCtrl: Relevance-Guided Efficient Control for Diffusion
    Transformers: it mixes tokens and channels at once, and windows of `window` tokens suffice, since what is in one came
    from everywhere. The shuffles are drawn from `seed`, one for each size of the grid, and stay. (B, *grid, C) of any rank.
    Cost per token: (4 * C^2 + 2 * window * C) / groups.
    """

    grid_ranks = (1, 2, 3)
    exports = Export("none", "where a number goes is drawn from a seeded generator, which ONNX has not")

    def __init__(self, channels: int, groups: int = 2, window: int = 16, seed: int = 0, causal: bool = False) -> None:
        super().__init__()
        never_causal("shuffle", causal, "a shuffle brings later tokens before earlier ones; take 'shift' or 'attention'")
        size = divides("shuffle", channels, groups, "groups")
        whole_number("mixer 'shuffle': window", window, 2, 4096)
        self.causal, self.window, self.seed = causal, window, whole_number("mixer 'shuffle': seed", seed, 0)
        self.order: torch.Tensor
        self.register_buffer("order", torch.randperm(channels, generator=torch.Generator().manual_seed(seed)), persistent=False)
        self.qkv = torch.nn.ModuleList(torch.nn.Linear(size, 3 * size, bias=False) for _ in range(groups))
        self.out = torch.nn.ModuleList(torch.nn.Linear(size, size) for _ in range(groups))

    def shuffle(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, C) -> (groups, B, N, C / groups): where the numbers go."""
        parts = torch.stack(x[..., self.order].chunk(len(self.out), -1)).flatten(2)
        return parts.gather(2, self.places(parts)).unflatten(2, (x.shape[1], -1))

    def unshuffle(self, y: torch.Tensor) -> torch.Tensor:
        """What `shuffle` came from."""
        flat = y.flatten(2)
        parts = torch.zeros_like(flat).scatter(2, self.places(flat), flat).view_as(y)
        return torch.cat(parts.unbind(), -1)[..., self.order.argsort()]

    def places(self, parts: torch.Tensor) -> torch.Tensor:
        """Where each of the numbers of (groups, B, M) comes from."""
        random = torch.Generator().manual_seed(self.seed)
        orders = torch.stack([torch.randperm(parts.shape[2], generator=random) for _ in parts])
        return orders.to(parts.device)[:, None].expand_as(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts, mixed = self.shuffle(x.flatten(1, -2)), []
        real = partition(torch.ones_like(parts[0, :1, :, :1]), self.window)[..., 0]
        mask = (FAR * (1 - real))[:, :, None]
        for part, qkv, out in zip(parts, self.qkv, self.out, strict=True):
            q, k, v = partition(qkv(part), self.window).chunk(3, -1)  # (B, windows, window, C / groups)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).flatten(1, 2)
            mixed.append(out(y[:, : part.shape[1]]))
        return self.unshuffle(torch.stack(mixed)).reshape(x.shape)
