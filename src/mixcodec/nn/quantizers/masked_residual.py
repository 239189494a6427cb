"""Masked-channel residual quantization: the first codebooks see a part of the channels each, the rest what is left."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.residual import Residual, sum_of_entries
from mixcodec.registry import whole_number


@QUANTIZERS.register("masked_residual")
class MaskedResidual(Quantizer):
    """The first `masked` codebooks work side by side, each on its slice of the channels of z (B, T, C); the others are
    residual levels over all channels of what these leave.

    Ji et al., 2024, Language-Codec: Reducing the Gaps Between Discrete Codec Representation and Speech Language Models
    (MCRVQ): a language model finds the first codebook hardest, because it holds most; so its content is spread over
    several. Masking all channels but a slice is done by taking the slice: what the others would give is 0 both ways. The
    first k codebooks are a valid lower rate: a slice without a code is 0.
    """

    def __init__(self, channels: int, codebooks: int = 8, masked: int = 3, codebook: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        whole_number("quantizer 'masked_residual': codebooks", codebooks)
        whole_number("quantizer 'masked_residual': masked", masked, 1, min(codebooks, channels))
        widths = [len(part) for part in torch.arange(channels).tensor_split(masked)]
        config = {"kind": "vq"} | dict(codebook or {})
        slices = [QUANTIZERS.build(config, channels=width) for width in widths]
        if slices[0].codebooks != 1:
            raise ConfigError(f"quantizer 'masked_residual': a codebook must give one code, not {config['kind']!r}")
        self.widths = widths
        self.slices = cast(Sequence[Quantizer], torch.nn.ModuleList(slices))
        self.rest = Residual(channels, codebooks - masked, codebook) if codebooks > masked else None
        self.codebooks, self.size = codebooks, slices[0].size

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        if active is None:
            active = torch.full((len(z),), self.codebooks, device=z.device)
        parts = []
        for k, (level, part) in enumerate(zip(self.slices, z.float().split(self.widths, -1), strict=True)):
            parts.append(level(part, (active > k).long()))
        codes = torch.cat([p.codes for p in parts], -1)
        vectors = torch.cat([p.vectors for p in parts], -1)
        losses, usage = torch.stack([p.loss for p in parts]), torch.cat([p.usage for p in parts])
        if self.rest is None:
            return Quantized(codes, vectors, losses.mean(), usage)
        after = self.rest(z.float() - vectors, (active - len(parts)).clamp(min=0))
        codes, vectors = torch.cat([codes, after.codes], -1), vectors + after.vectors
        loss = (losses.sum() + after.loss * self.rest.codebooks) / self.codebooks
        return Quantized(codes, vectors, loss, torch.cat([usage, after.usage]))

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        parts = zip(self.slices, z.split(self.widths, -1), strict=True)
        codes = torch.cat([level.vectors_to_codes(part) for level, part in parts], -1)
        if self.rest is None:
            return codes
        return torch.cat([codes, self.rest.vectors_to_codes(z - self._sliced(codes))], -1)

    def _sliced(self, codes: torch.Tensor) -> torch.Tensor:
        """Vectors (..., C) of the codes (..., masked) of all slices."""
        parts = zip(self.slices, codes.split(1, -1), strict=True)
        return torch.cat([level.codes_to_vectors(code) for level, code in parts], -1)

    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        every = torch.arange(self.size, device=codes.device)[:, None]
        tables, before = [], 0
        for level, width in zip(self.slices, self.widths, strict=True):
            after = sum(self.widths) - before - width
            tables.append(F.pad(level.codes_to_vectors(every), (before, after)))
            before += width
        if self.rest is not None:
            tables += [level.codes_to_vectors(every) for level in self.rest.levels]
        return sum_of_entries(codes, tables)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        for level, part in zip(self.slices, z.split(self.widths, -1), strict=True):
            level.start(part)
        if self.rest is not None:
            parts = zip(self.slices, z.split(self.widths, -1), strict=True)
            codes = torch.cat([level.vectors_to_codes(part) for level, part in parts], -1)
            self.rest.start(z - self._sliced(codes))
