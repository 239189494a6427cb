"""Residual quantization whose codebooks have frame rates of their own: some codes stand for several frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized
from mixcodec.nn.quantizers.residual import Residual
from mixcodec.registry import whole_number


def means_of_groups(x: torch.Tensor, stride: int) -> torch.Tensor:
    """Means (..., ceil(T / stride), C) of every `stride` frames of x (..., T, C); the last group may be shorter."""
    if stride == 1:
        return x
    rows = F.pad(x.reshape(-1, *x.shape[-2:]).movedim(-1, -2), (0, stride - 1))
    ones = F.pad(torch.ones_like(x[..., 0]).reshape(-1, 1, x.shape[-2])[:1], (0, stride - 1))
    means = F.avg_pool1d(rows, stride) / F.avg_pool1d(ones, stride)
    return means.movedim(-1, -2).reshape(*x.shape[:-2], -1, x.shape[-1])


def frames_of_groups(y: torch.Tensor, stride: int, frames: int) -> torch.Tensor:
    """Each of y (..., groups, C) `stride` times: (..., frames, C)."""
    return y if stride == 1 else y[..., torch.arange(frames, device=y.device) // stride, :]


@QUANTIZERS.register("multi_scale")
class MultiScale(Residual):
    """A residual whose level k quantizes means over strides[k] frames of what the levels before it left.

    Siuzdak et al., 2024, SNAC: Multi-Scale Neural Audio Codec: what changes slowly is paid for seldom, strides (8, 4, 2, 1)
    say, so a second costs fewer codes at an equal frame rate of the finest level. A code of several frames stands in the
    codes (B, T, K) once a frame. The first k codebooks are a valid lower rate. Encoding looks as far ahead as a group is
    long; decoding does not. A group that the end cuts short is the mean of what there is.
    """

    def __init__(self, channels: int, strides: Sequence[int] = (4, 2, 1, 1), codebook: Mapping[str, Any] | None = None) -> None:
        if not isinstance(strides, list | tuple) or not strides:
            rule = "must be a list of whole numbers, the frames a code of each codebook"
            raise ConfigError(f"quantizer 'multi_scale': strides is {strides!r}, but {rule}")
        for stride in strides:
            whole_number("quantizer 'multi_scale': one of strides", stride, 1, 1024)
        super().__init__(channels, len(strides), codebook)
        self._strides = tuple(strides)

    @property
    def strides(self) -> tuple[int, ...]:
        return self._strides

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        if active is None:
            active = torch.full((len(z),), self.codebooks, device=z.device)
        rest, vectors, codes, losses, usage = z.float(), torch.zeros_like(z, dtype=torch.float32), [], [], []
        for k, (level, stride) in enumerate(zip(self.levels, self.strides, strict=True)):
            quantized = level(means_of_groups(rest, stride), (active > k).long())
            found = frames_of_groups(quantized.vectors, stride, z.shape[1])
            rest, vectors = rest - found, vectors + found
            codes.append(frames_of_groups(quantized.codes, stride, z.shape[1]))
            losses.append(quantized.loss)
            usage.append(quantized.usage)
        return Quantized(torch.cat(codes, -1), vectors, torch.stack(losses).mean(), torch.cat(usage))

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        codes, frames = [], z.shape[-2]
        for level, stride in zip(self.levels, self.strides, strict=True):
            code = level.vectors_to_codes(means_of_groups(z, stride))
            codes.append(frames_of_groups(code, stride, frames))
            z = z - frames_of_groups(level.codes_to_vectors(code), stride, frames)
        return torch.cat(codes, -1)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Fits each level to the means of what is left of z (M, C), M frames in their order."""
        for level, stride in zip(self.levels, self.strides, strict=True):
            means = means_of_groups(z, stride)
            level.start(means)
            found = level.codes_to_vectors(level.vectors_to_codes(means))
            z = z - frames_of_groups(found, stride, len(z))


@QUANTIZERS.register("merged_residual")
class MergedResidual(MultiScale):
    """Trains as a plain residual; in use, levels with a stride share a code of codes (B, T, K) among so many frames.

    Han et al., 2024, VALL-E R: Robust and Efficient Zero-Shot Text-to-Speech Synthesis via Monotonic Alignment
    (codec-merging): a language model then writes the shallow levels at half the rate or less, and the codec is not trained
    anew: later levels make up for part of what the means lost. The weights are those of a `residual` of as many codebooks,
    so one that is trained loads as it is.
    """

    def __init__(
        self,
        channels: int,
        strides: Sequence[int] = (2, 1, 1, 1, 1, 1, 1, 1),
        codebook: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(channels, strides, codebook)

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        return Residual.forward(self, z, active) if self.training else super().forward(z, active)

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return Residual.vectors_to_codes(self, z) if self.training else super().vectors_to_codes(z)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        Residual.start(self, z)
