"""Distances between waves in the short-time spectrum, at several resolutions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mixcodec.losses.frames import framed
from mixcodec.mel import mel_edges, mel_filters
from mixcodec.nn.processes import mean_over_processes

FLOOR = 1e-5  # under which a mel band counts as silent


def mel_matrix(sample_rate: int, window: int, bands: int) -> torch.Tensor:
    """Mel filters (window // 2 + 1, bands) of unit sum; a band that falls between two bins takes the nearer one."""
    filters = mel_filters(sample_rate, window, bands)
    nearest = np.round(mel_edges(sample_rate, bands)[1:-1] * window / sample_rate).astype(int)
    empty = (filters.sum(0) == 0).nonzero()[0]
    filters[nearest[empty], empty] = 1
    return torch.from_numpy(filters / filters.sum(0)).float()


class Spectral(torch.nn.Module):
    """Four distances between waves (B, N), each the mean over `windows` (samples; hop half a window):

    - `mel`: mean absolute difference of natural-log mel magnitudes (Kong et al., 2020, HiFi-GAN; multi-scale as Kumar
      et al., 2023, High-Fidelity Audio Compression with Improved RVQGAN);
    - `magnitude`: squared difference of magnitudes to the power `power`, over the target's energy in the same measure
      (the multi-resolution STFT loss of Yamamoto et al., 2020, Parallel WaveGAN, with a power in place of the logarithm);
    - `complex`: the same with phases kept (Braun, Tashev, 2020, A consolidated view of loss functions for supervised
      deep learning-based speech enhancement), below `complex_below` Hz: above it neither the ear nor a low bitrate can
      follow phases, and the squared error would only shrink what can't be predicted;
    - `phase`: 1 - cos of the phase difference, weighted by the target's energy in the same measure; it moves phases and
      leaves magnitudes alone.

    In training, windows start at a random offset under one hop at every call, so that a coarse hop sees every alignment; the
    energies are means over all processes that train together, which must come here equally often.
    """

    def __init__(
        self,
        sample_rate: int,
        windows: Sequence[int] = (256, 512, 1024),
        bands: Sequence[int] = (20, 40, 80),
        power: float = 0.3,
        complex_below: float = 8000,
    ) -> None:
        super().__init__()
        self.windows, self.power, self.kept = tuple(windows), power, complex_below / sample_rate
        for window, count in zip(windows, bands, strict=True):
            self.register_buffer(f"taper_{window}", torch.hann_window(window) / math.sqrt(3 * window / 8), persistent=False)
            self.register_buffer(f"mel_{window}", mel_matrix(sample_rate, window, count), persistent=False)

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        totals = {name: estimate.new_zeros(()) for name in ("mel", "magnitude", "complex", "phase")}
        with torch.autocast(estimate.device.type, enabled=False):
            for window in self.windows:
                part = slice(None)
                if self.training:
                    offset, last = int(torch.randint(window // 2, ())), window // 2 - 1
                    part = slice(offset, estimate.shape[1] - last + offset)  # equally long whatever the offset
                for name, value in self._at(window, estimate[:, part].float(), target[:, part].float()).items():
                    totals[name] = totals[name] + value / len(self.windows)
        return totals

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Compiles what is done at one window: the offset changes with every call."""
        self._at = torch.compile(self._at, *arguments, **options)  # type: ignore[method-assign]

    def _at(self, window: int, estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        mel: torch.Tensor = getattr(self, f"mel_{window}")
        low = round(self.kept * window) + 1
        with torch.no_grad():
            re, im, mag, gain, bands = self._spectrum(window, target, mel)
            power = mag * gain
            energy = power.square()
            mean, mean_low = self._mean(energy), self._mean(energy[..., :low])
        re_, im_, mag_, gain_, bands_ = self._spectrum(window, estimate, mel)
        away = (re_ * gain_ - re * gain).square() + (im_ * gain_ - im * gain).square()
        agree = (re * re_ + im * im_) * (energy / (mag * mag_))
        return {
            "mel": (bands_ - bands).abs().mean(),
            "magnitude": (mag_ * gain_ - power).square().mean() / mean,
            "complex": away[..., :low].mean() / mean_low,
            "phase": 1 - agree.mean() / mean,
        }

    def _mean(self, energy: torch.Tensor) -> torch.Tensor:
        return mean_over_processes(energy.mean()) if self.training else energy.mean()

    def _spectrum(self, window: int, wave: torch.Tensor, mel: torch.Tensor) -> tuple[torch.Tensor, ...]:
        frames = framed(wave, window, window // 2) * getattr(self, f"taper_{window}")
        re, im = torch.view_as_real(torch.fft.rfft(frames, norm="ortho")).unbind(-1)
        mag = (re * re + im * im + 1e-9).sqrt()
        return re, im, mag, mag ** (self.power - 1), (mag @ mel).clamp(min=FLOOR).log()
