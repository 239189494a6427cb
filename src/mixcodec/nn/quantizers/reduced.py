"""A trained codebook that is also many smaller ones: its entries are put in order as a tree, and a code is the way down."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.lookup import Lookup
from mixcodec.nn.quantizers.projected import in_float32
from mixcodec.nn.quantizers.use import perplexity_share
from mixcodec.registry import whole_number

ROUNDS = 10  # of k-means at each fork of the tree


def balanced_tree(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """An order (M,) of points x (M, D), M a power of two, in which halves, quarters, ... are clusters.

    Each cluster is split by 2-means into halves of equal number. Given two centres c and d, the halves of least squared
    error are those under and above the median of x (d - c), so a round is a sort. Centres are means by `weight` (M,).
    """
    order = torch.arange(len(x), device=x.device)
    half = len(x) // 2
    while half >= 1:
        points = x[order].view(-1, 2 * half, x.shape[1])
        share = weight[order].view(-1, 2 * half, 1)
        middle = (points * share).sum(1, keepdim=True) / share.sum(1, keepdim=True)
        _, _, axes = torch.linalg.svd(points - middle, full_matrices=False)
        direction = axes[:, 0]  # that of most variance, to begin with
        for _ in range(ROUNDS):
            rank = (points @ direction[..., None])[..., 0].argsort(dim=1, stable=True)
            halves = points.gather(1, rank[..., None].expand_as(points)).unflatten(1, (2, half))
            shares = share.gather(1, rank[..., None]).unflatten(1, (2, half))
            centres = (halves * shares).sum(2) / shares.sum(2)
            direction = centres[:, 1] - centres[:, 0]
        order = order.view(-1, 2 * half).gather(1, rank).flatten()
        half //= 2
    return order


@QUANTIZERS.register("reduced")
class Reduced(Quantizer):
    """One codebook of `size` entries, whose code is K = `digits` digits, (B, T, K): the first k are one of a smaller codebook.

    Mao et al., 2023, Extreme Image Compression using Fine-tuned VQGANs: k-means over the entries of a trained codebook makes
    smaller ones for lower rates. Here the clusters are nested, all of one number, so the smaller codebooks' codes are
    the beginnings of the large one's, and a stream is cut down without its encoder. All digits are the code of the large
    codebook itself: nothing is lost by the order. `start` and `reduce` find the tree; entries that learn on carry their places
    along, and an entry of a smaller codebook is always the mean of those it stands for, by how much they are used.
    """

    order: torch.Tensor
    rank: torch.Tensor
    places: torch.Tensor

    def __init__(self, channels: int, digits: int = 5, codebook: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        whole_number("quantizer 'reduced': digits", digits, 1, 20)
        inner = QUANTIZERS.build({"kind": "vq"} | dict(codebook or {}), channels=channels)
        if not isinstance(inner, Lookup):
            raise ConfigError(f"quantizer 'reduced': {(codebook or {}).get('kind')!r} has no codebook of entries to reduce")
        bits = inner.size.bit_length() - 1
        if inner.size != 1 << bits or bits % digits:
            rule = f"must be a number of codes that is 2 to a multiple of the {digits} digits"
            raise ConfigError(f"quantizer 'reduced': the codebook's size is {inner.size}, but {rule}")
        self.codebook = inner
        self.codebooks, self.size = digits, 1 << bits // digits
        self.register_buffer("order", torch.arange(inner.size))
        self.register_buffer("rank", torch.arange(inner.size))  # where in the order each entry is
        self.register_buffer("places", self.size ** torch.arange(digits).flip(0), persistent=False)

    def entries(self, digits: int) -> torch.Tensor:
        """The entries (size ** digits, dim) of the codebook that has this many digits."""
        table = self.codebook.table()[self.order].view(self.size**digits, -1, self.codebook.dim)
        weight = self.codebook.count[self.order].view(*table.shape[:2], 1)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)  # of an entry that is alone, all
        return (table * weight).sum(1) if digits < self.codebooks else table[:, 0]

    def _digits(self, code: torch.Tensor) -> torch.Tensor:
        """Digits (..., K) of codes (..., 1) of the large codebook."""
        return self.rank[code] // self.places % self.size

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        inner = self.codebook(z, None if active is None else active.clamp(max=1))
        usage = perplexity_share(self._use())
        codes = self._digits(inner.codes)
        if active is None:
            return Quantized(codes, inner.vectors, inner.loss, usage)
        with torch.autocast(z.device.type, enabled=False):
            x = self.codebook._inside(z.float())
            chosen = torch.zeros_like(x)
            for k in range(1, self.codebooks + 1):
                number = (codes[..., :k] * self.places[-k:]).sum(-1)
                chosen = torch.where((active == k)[:, None, None], self.entries(k)[number], chosen)
            vectors = self.codebook.leave(x + (chosen - x).detach()) * (active > 0)[:, None, None]
        return Quantized(codes, vectors, inner.loss, usage)

    def _use(self) -> torch.Tensor:
        """How often each digit is used, (K, size)."""
        count = self.codebook.count[self.order].view([self.size] * self.codebooks)
        axes = range(self.codebooks)
        return torch.stack([count.sum([a for a in axes if a != k]) if self.codebooks > 1 else count for k in axes])

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return self._digits(self.codebook.vectors_to_codes(z))

    @in_float32
    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Vectors (..., C) of the first k digits (..., k): of the k-digit codebook's entries.

        One lookup in all codebooks as one, for a graph in which k is open: those of fewer digits come first.
        """
        table = torch.cat([self.entries(k) for k in range(1, self.codebooks + 1)])
        weight = self.places.flip(0)[torch.arange(codes.shape[-1], device=codes.device).flip(0)]
        return self.codebook.leave(F.embedding((codes * weight).sum(-1) + weight.sum() - 1, table))

    @torch.no_grad()
    def reduce(self) -> None:
        """Finds the tree of the entries as they are now."""
        table = self.codebook.table().float()
        self.order.copy_(balanced_tree(table, self.codebook.count.clamp(min=1e-3)))
        self.rank.copy_(self.order.argsort())

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        self.codebook.start(z)
        self.reduce()
