"""Group-residual quantization: groups of channels, each with residual codebooks of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.residual import Residual, sum_of_entries
from mixcodec.registry import whole_number


@QUANTIZERS.register("group_residual")
class GroupResidual(Quantizer):
    """Splits the channels of z (B, T, C) into `groups`, quantizes each with codebooks / groups residual levels, joins them.

    Yang et al., 2023, HiFi-Codec: Group-residual Vector quantization for High Fidelity Audio Codec: the first codebooks,
    which carry most, become several small ones. Codes go level by level, group by group within a level: code
    k is level k // groups of group k % groups. So the first k codebooks are a valid lower rate, whatever k: the groups
    differ by at most one level, and a group without a code is 0.
    """

    def __init__(self, channels: int, codebooks: int = 8, groups: int = 2, codebook: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        whole_number("quantizer 'group_residual': groups", groups)
        whole_number("quantizer 'group_residual': codebooks", codebooks)
        for name, value in {"codebooks": codebooks, "channels": channels}.items():
            if value % groups:
                raise ConfigError(f"quantizer 'group_residual': groups is {groups}, but must divide the {value} {name}")
        parts = [Residual(channels // groups, codebooks // groups, codebook) for _ in range(groups)]
        self.groups = cast(Sequence[Residual], torch.nn.ModuleList(parts))
        self.codebooks, self.size = codebooks, parts[0].size

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        count = len(self.groups)
        parts = []
        for g, (group, part) in enumerate(zip(self.groups, z.chunk(count, -1), strict=True)):
            parts.append(group(part, None if active is None else (active + count - 1 - g) // count))
        codes = torch.stack([p.codes for p in parts], -1).flatten(-2)
        vectors = torch.cat([p.vectors for p in parts], -1)
        loss = torch.stack([p.loss for p in parts]).mean()
        return Quantized(codes, vectors, loss, torch.stack([p.usage for p in parts], -1).flatten())

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        parts = zip(self.groups, z.chunk(len(self.groups), -1), strict=True)
        return torch.stack([group.vectors_to_codes(part) for group, part in parts], -1).flatten(-2)

    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        every = torch.arange(self.size, device=codes.device)[:, None]
        count, tables = len(self.groups), []
        for level in range(self.codebooks // count):
            for g, group in enumerate(self.groups):
                part = group.levels[level].codes_to_vectors(every)
                tables.append(F.pad(part, (g * part.shape[1], (count - 1 - g) * part.shape[1])))
        return sum_of_entries(codes, tables)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        for group, part in zip(self.groups, z.chunk(len(self.groups), -1), strict=True):
            group.start(part)
