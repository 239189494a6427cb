"""What a speech recogniser makes of a wave, against what it makes of the original."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mixcodec.nn.processes import mean_over_processes

BINS_HZ, HOPS_A_SECOND = 40, 100
"""Whisper's spectrum: bins of 40 Hz of windows of 25 ms, every 10 ms."""
TOP_HZ, BANDS = 8000, 80
MOST_FRAMES = 1500
LAYERS, HEADS, WIDTH = 6, 8, 512
"""Of Whisper base."""


class WhisperPart(torch.nn.Module):
    """Frozen weights of one side of Whisper, and what both sides do with them."""

    side: str

    def __init__(self, weights: Mapping[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> None:
        """Of `weights`, as `mixcodec.train.teacher.whisper_weights` reads them, those of this side.

        `dtype` is what matrices are kept in: bfloat16 spares autocast the casting, and needs it.
        """
        super().__init__()
        for name, value in weights.items():
            if name.startswith(self.side):
                matrix = value.dim() > 1 and name.endswith("weight")
                self.register_buffer(name.replace("/", "__"), value.to(dtype if matrix else torch.float32), persistent=False)

    def _of(self, name: str) -> torch.Tensor:
        return getattr(self, f"{self.side}/{name}".replace("/", "__"))

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._of(f"{name}/weight"), self._of(f"{name}/bias"))

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        name = f"{name}/layer_norm".removeprefix("/")
        return F.layer_norm(x, (WIDTH,), self._of(f"{name}/gamma"), self._of(f"{name}/beta"))

    def _mlp(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return self._linear(F.gelu(self._linear(self._norm(x, name), f"{name}/linear_0")), f"{name}/linear_1")


class WhisperEncoder(WhisperPart):
    """Waves (B, N) -> what Whisper base makes of them after each layer, a list of (B, T, 512), 50 frames a second.

    The last is what its decoder is given. T is N / 20 ms, rounded down; what comes after 30 s is not heard. Radford et al., 2022,
    Robust speech recognition via large-scale weak supervision.
    """

    side = "encoder"

    def __init__(self, weights: Mapping[str, torch.Tensor], sample_rate: int, dtype: torch.dtype = torch.float32) -> None:
        """`weights` and `dtype` as of `WhisperPart`.

        Raises ValueError where 25 ms and 10 ms are no whole numbers of samples, or the rate is below 16 kHz.
        """
        super().__init__(weights, dtype)
        if sample_rate % 200 or sample_rate < 2 * TOP_HZ:
            raise ValueError(f"Whisper hears from 16 kHz up, at a multiple of 200 Hz, and not {sample_rate} Hz")
        self.window, self.hop = sample_rate // BINS_HZ, sample_rate // HOPS_A_SECOND
        scale = sample_rate / (2 * TOP_HZ)  # a longer window adds up more samples
        self.register_buffer("taper", torch.hann_window(self.window) / scale, persistent=False)
        self.register_buffer("filters", torch.from_numpy(slaney_filters()).float(), persistent=False)
        self.taper: torch.Tensor
        self.filters: torch.Tensor

    def forward(self, wave: torch.Tensor) -> list[torch.Tensor]:
        with torch.autocast(wave.device.type, enabled=False):
            x = self.spectrum(wave.float())
        x = F.gelu(F.conv1d(x, self._of("conv1/weight"), self._of("conv1/bias"), padding=1))
        x = F.gelu(F.conv1d(x, self._of("conv2/weight"), self._of("conv2/bias"), padding=1, stride=2)).mT
        x = x + self._of("position_encodings/encodings")[: x.shape[1]]
        found = []
        for layer in range(LAYERS):
            attention, mlp = f"layer_{layer}/self_attention", f"layer_{layer}/ffn"
            q, k, v = self._linear(self._norm(x, attention), f"{attention}/linear_0").chunk(3, -1)
            x = x + self._linear(attend(q, k, v), f"{attention}/linear_1")
            x = x + self._mlp(x, mlp)
            found.append(x)
        return [*found[:-1], self._norm(found[-1], "")]

    def spectrum(self, wave: torch.Tensor) -> torch.Tensor:
        """Log-mel magnitudes (B, 80, 2T), as Whisper is fed with them."""
        wave = F.pad(wave[:, : wave.shape[1] // (2 * self.hop) * 2 * self.hop], (0, self.hop))
        wave = F.pad(wave[:, None], (self.window // 2,) * 2, mode="reflect")[:, 0]
        bins = torch.fft.rfft(wave.unfold(1, self.window, self.hop) * self.taper)[:, :-2, : len(self.filters)]
        mel = torch.view_as_real(bins).square().sum(-1) @ self.filters
        level = mel.clamp(min=1e-10).log10()
        loudest = level.detach().amax((1, 2), keepdim=True)
        return ((torch.maximum(level, loudest - 8) + 4) / 4).mT[:, :, : 2 * MOST_FRAMES]


class Recognition(torch.nn.Module):
    """How far what a recogniser makes of the estimate is from what it makes of the target, both waves (B, N); 0 for equal ones.

    Of each layer the mean distance of the features, in units of their mean distance from their average over time; the mean of the
    layers. Features of a trained network as a loss: Germain, Chen, Koltun, 2018, Speech Denoising with Deep
    Feature Losses. Waves shorter than 20 ms give 0. In training, that unit is an average over all processes that train together.
    """

    def __init__(self, recogniser: WhisperEncoder) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if estimate.shape[1] < 2 * self.recogniser.hop:
            return estimate.new_zeros(())
        with torch.no_grad():
            wanted = self.recogniser(target)
        found = self.recogniser(estimate)
        return torch.stack([self._distance(y.float(), x.float()) for y, x in zip(found, wanted, strict=True)]).mean()

    def _distance(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        spread = (target - target.mean(1, keepdim=True)).abs().mean()
        spread = mean_over_processes(spread) if self.training else spread
        return (estimate - target).abs().mean() / spread.clamp(min=1e-5)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = False) -> torch.Tensor:
    """Whisper's attention of q (B, T, 512) to k and v (B, S, 512): (B, T, 512)."""
    q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


def slaney_filters() -> NDArray[np.float64]:
    """Triangular bands (201, 80) over bins of 40 Hz up to 8 kHz, of equal area.

    Evenly spaced on a scale that is linear to 1 kHz and logarithmic above (Slaney, 1998, Auditory Toolbox).
    """
    step, corner, log_step = 200 / 3, 1000.0, np.log(6.4) / 27
    top = corner / step + np.log(TOP_HZ / corner) / log_step
    at = np.linspace(0, top, BANDS + 2)
    edges = np.where(at < corner / step, at * step, corner * np.exp(log_step * (at - corner / step)))
    bins = np.arange(0, TOP_HZ + 1, BINS_HZ)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2]))
