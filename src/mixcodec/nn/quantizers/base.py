"""What every quantizer promises."""

from typing import NamedTuple

import torch

from mixcodec.registry import Registry


class Quantized(NamedTuple):
    """What a quantizer makes of z (B, T, C)."""

    codes: torch.Tensor  # (B, T, K) int64
    vectors: torch.Tensor  # (B, T, C), with a straight-through gradient to z
    loss: torch.Tensor  # scalar: commitment
    usage: torch.Tensor  # (K,) perplexity of each codebook's running use, as a share of its size


class Quantizer(torch.nn.Module):
    """z (B, T, C) <-> codes (B, T, K), K `codebooks` of `size` entries. `start` fits the codebooks to data first."""

    codebooks: int
    size: int

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        """Quantizes; in training also learns. `active` (B,): how many codebooks each item may use (all if None)."""
        raise NotImplementedError

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        """Vectors (B, T, C) of the first k <= K codebooks' codes (B, T, k)."""
        raise NotImplementedError

    def start(self, z: torch.Tensor) -> None:
        """Fits the codebooks to vectors (M, C)."""
        raise NotImplementedError


QUANTIZERS: Registry[Quantizer] = Registry("quantizer")
