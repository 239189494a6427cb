"""Discriminators on the spectrum at several resolutions, made of matrix products alone."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from mixcodec.losses.discriminators.base import DISCRIMINATORS, Outputs
from mixcodec.losses.frames import framed
from mixcodec.losses.spectral import FLOOR


class Resolution(torch.nn.Module):
    """Scores one spectrum (B, T, bins): bands of it, each with its own weights, in layers that see 3 frames at a time.

    A layer is one batched matrix product over the bands, so a processor's matrix unit does the work; 2-D convolutions
    of the same reach cost several times as much on a CPU. Phase is kept: real and imaginary parts, and the magnitude.
    """

    def __init__(self, window: int, bands: int, width: int, depth: int) -> None:
        super().__init__()
        self.window, self.bands = window, bands
        bins = window // 2 // bands
        inputs = [3 * 3 * bins] + [3 * width] * (depth - 1)
        self.weights = torch.nn.ParameterList(torch.randn(bands, n, width) * (2 / n) ** 0.5 for n in inputs)
        self.biases = torch.nn.ParameterList(torch.zeros(bands, 1, width) for _ in inputs)
        self.score = torch.nn.Parameter(torch.randn(bands, width, 1) / width**0.5)
        self.register_buffer("taper", torch.hann_window(window) / math.sqrt(3 * window / 8), persistent=False)
        self.taper: torch.Tensor

    def forward(self, wave: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.fft.rfft(framed(wave.float(), self.window, self.window // 4) * self.taper, norm="ortho")
            parts = torch.view_as_real(spectrum[..., 1:])
            mag = parts.square().sum(-1, keepdim=True).add(FLOOR**2).sqrt()
            x = torch.cat([parts * mag**-0.7, mag**0.3], -1)  # (B, T, bins, 3)
        x = x.unflatten(2, (self.bands, -1)).flatten(3).permute(2, 0, 1, 3)  # (bands, B, T, 3 * bins of a band)
        features = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = torch.cat([x[:, :, :-2], x[:, :, 1:-1], x[:, :, 2:]], -1)
            batch, frames = x.shape[1:3]
            x = F.leaky_relu(torch.baddbmm(bias, x.flatten(1, 2), weight), 0.1).unflatten(1, (batch, frames))
            features.append(x)
        return x.flatten(1, 2) @ self.score, features


@DISCRIMINATORS.register("multi_resolution")
class MultiResolution(torch.nn.Module):
    """One `Resolution` for each of `windows` (samples).

    After the multi-resolution discriminators of Jang et al., 2021, UnivNet, and the banded complex ones of Kumar et al.,
    2023, High-Fidelity Audio Compression with Improved RVQGAN.
    """

    def __init__(self, windows: Sequence[int] = (256, 512, 1024), bands: int = 8, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.resolutions = torch.nn.ModuleList(Resolution(window, bands, width, depth) for window in windows)

    def forward(self, wave: torch.Tensor) -> Outputs:
        return [resolution(wave) for resolution in self.resolutions]
