"""A vector as the sum of the few entries that point most its way, for a bottleneck within a network."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.projected import in_float32
from mixcodec.nn.quantizers.search import k_means
from mixcodec.nn.quantizers.use import count_use, perplexity_share
from mixcodec.registry import whole_number


@QUANTIZERS.register("codebook_features")
class CodebookFeatures(Quantizer):
    """Takes the `top` entries of most cosine similarity to z (B, T, C), the most similar first, and hands back their sum.

    Tamkin et al., 2023, Codebook Features: Sparse and Discrete Interpretability for Neural Networks: with such a layer in
    each block, what a network holds at a token is a short list of codes, which can be read and forced. One codebook of
    `size` entries in all channels; the gradient goes straight through, and the loss pulls the sum to z and, `commitment` times
    as hard, z to the sum, as a share of z's mean square. Codebook k is the k-th most similar entry: the first k codes are a
    coarser list. The channel mixer `bottleneck` puts this, or any other quantizer, into a block.
    """

    count: torch.Tensor

    def __init__(self, channels: int, size: int = 1024, top: int = 8, commitment: float = 0.0) -> None:
        super().__init__()
        whole_number("quantizer 'codebook_features': size", size, 2)
        whole_number("quantizer 'codebook_features': top", top, 1, size)
        if isinstance(commitment, bool) or not isinstance(commitment, int | float) or not 0 <= commitment < float("inf"):
            raise ConfigError(f"quantizer 'codebook_features': commitment is {commitment!r}, but must be a number from 0 up")
        self.size, self.codebooks, self.commitment = size, top, commitment
        self.entries = torch.nn.Parameter(torch.randn(size, channels) / top**0.5)
        self.register_buffer("count", torch.ones(size))

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            codes = self.vectors_to_codes(z)
            books = torch.arange(self.codebooks, device=z.device)
            kept = torch.ones_like(codes, dtype=torch.bool) if active is None else active[:, None, None] > books
            kept = kept.expand_as(codes)
            found = (F.embedding(codes, self.entries) * kept[..., None]).sum(-2)
            some = kept[..., 0]
            pull = (found - z.detach()).square().mean(-1) + self.commitment * (z - found.detach()).square().mean(-1)
            energy = (z.detach().square().mean(-1) * some).sum().clamp(min=1e-6)
            vectors = (z + (found - z).detach()) * some[..., None]
            if self.training and torch.is_grad_enabled():
                with torch.no_grad():
                    count_use(self.count, codes, kept)
            return Quantized(codes, vectors, (pull * some).sum() / energy, self.usage())

    def usage(self) -> torch.Tensor:
        """Perplexity of the running counts as a share of the size, the same for all codebooks, (K,)."""
        return perplexity_share(self.count[None]).expand(self.codebooks)

    @in_float32
    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return (z.detach() @ F.normalize(self.entries.detach(), dim=-1).T).topk(self.codebooks).indices

    @in_float32
    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        return F.embedding(codes, self.entries).sum(-2)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Directions by k-means over those of z (M, C); lengths so that `top` of them that agree sum to a vector of z."""
        directions = k_means(F.normalize(z, dim=-1), self.size, "cosine")
        nearest = F.normalize(z, dim=-1) @ directions.T
        best = nearest.argmax(-1)
        total = torch.zeros(self.size).to(z).index_add_(0, best, z.norm(dim=-1))
        number = torch.bincount(best, minlength=self.size)
        length = torch.where(number > 0, total / number.clamp(min=1), z.norm(dim=-1).mean())
        self.entries.copy_(directions * length[:, None] / self.codebooks)
        count = torch.bincount(self.vectors_to_codes(z).flatten(), minlength=self.size)
        self.count.copy_(count.clamp(min=1))
