"""What every quantizer promises."""

import math
from collections.abc import Callable
from typing import NamedTuple, Self

import torch

from mixcodec.registry import Registry


class Quantized(NamedTuple):
    """What a quantizer makes of z (B, T, C)."""

    codes: torch.Tensor  # (B, T, K) int64
    vectors: torch.Tensor  # (B, T, C), with a straight-through gradient to z
    loss: torch.Tensor  # scalar: commitment
    usage: torch.Tensor  # (K,) perplexity of each codebook's running use, as a share of its size


class Quantizer(torch.nn.Module):
    """z (B, T, C) <-> codes (B, T, K), K `codebooks` of `size` entries. `start` fits the codebooks to data first.

    A frame's codes depend on that frame alone, unless a codebook states a stride of several frames: then these share one
    code, which stands in the code array once a frame, and a block of z or of codes has to begin at a multiple of `stride`.

    Weights, arithmetic and vectors are float32 in any precision of the model around it, `model.bfloat16()` too: codes must not
    depend on how a model is run.
    """

    codebooks: int
    size: int

    @property
    def strides(self) -> tuple[int, ...]:
        """Of each codebook, how many frames share a code, (K,): its codes cost log2(size) / stride bits a frame."""
        return (1,) * self.codebooks

    @property
    def stride(self) -> int:
        """The frames after which all codebooks begin a new code together."""
        return math.lcm(*self.strides)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """What `to`, `bfloat16`, `cuda` and their like do to each weight: it may move, but keeps its type."""

        def move(weight: torch.Tensor) -> torch.Tensor:
            moved = fn(weight)
            return moved if moved.dtype == weight.dtype else weight.to(moved.device)

        return super()._apply(move, recurse)

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


QUANTIZERS: Registry[Quantizer] = Registry("quantizer", outside=True)
