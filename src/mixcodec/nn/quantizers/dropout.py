"""Quantizer dropout: while it trains, an item makes do with the first few codebooks."""

from collections.abc import Mapping
from typing import Any

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.registry import whole_number


@QUANTIZERS.register("dropout")
class Dropout(Quantizer):
    """Any quantizer of several codebooks, of which in training an item of z (B, T, C) uses a random number from `least` up.

    Zeghidour et al., 2021, SoundStream: An End-to-End Neural Audio Codec: one model that serves every rate. A share
    `probability` of the items draws its number, all numbers as likely; the others use all codebooks (Kumar et al., 2023,
    High-Fidelity Audio Compression with Improved RVQGAN, which says why: the full rate keeps its quality). A caller that
    hands in `active` decides itself. In evaluation it is the quantizer that it wraps.
    """

    def __init__(
        self, channels: int, quantizer: Mapping[str, Any] | str = "residual", probability: float = 0.5, least: int = 1
    ) -> None:
        super().__init__()
        if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
            raise ConfigError(f"quantizer 'dropout': probability is {probability!r}, but must be a number from 0 to 1")
        self.quantizer = QUANTIZERS.build(quantizer, channels=channels)
        self.codebooks, self.size = self.quantizer.codebooks, self.quantizer.size
        self.probability = probability
        self.least = whole_number("quantizer 'dropout': least", least, 1, self.codebooks)

    @property
    def strides(self) -> tuple[int, ...]:
        return self.quantizer.strides

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        if active is None and self.training:
            drawn = torch.randint(self.least, self.codebooks + 1, (len(z),), device=z.device)
            drops = torch.rand(len(z), device=z.device) < self.probability
            active = torch.where(drops, drawn, self.codebooks)
        return self.quantizer(z, active)

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return self.quantizer.vectors_to_codes(z)

    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        return self.quantizer.codes_to_vectors(codes)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        self.quantizer.start(z)
