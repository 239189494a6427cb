"""Disturbance of perceived loudness: what PESQ listens to."""

import math

import torch

from mixcodec.losses.frames import framed

BANDS = 49
WINDOW_SECONDS = 0.032
LISTENING_POWER = 1e7  # mean power of the speech band at the listening level, over that at the threshold of hearing
SPEECH_BAND = (300.0, 3250.0)
ZWICKER_POWER = 0.23
MASK = 0.25  # of the smaller loudness: what differs less is not heard
SILENT_POWER = 1e4  # frames of less power than that are hardly heard
LIMIT = 45.0  # of a frame's disturbance
ASYMMETRY_LIMIT = 12.0
GROUP = 20  # frames (320 ms) over which the worst count most


def bark(frequency: torch.Tensor) -> torch.Tensor:
    """Hz to Bark (Schroeder, 1977, Recognition of complex acoustic signals)."""
    return 7 * torch.asinh(frequency / 650)


def hearing_threshold(frequency: torch.Tensor) -> torch.Tensor:
    """Power of the threshold in quiet over that at 0 dB (Terhardt, 1979, Calculating virtual pitch)."""
    f = frequency.clamp(min=20) / 1000
    return 10 ** ((3.64 * f**-0.8 - 6.5 * torch.exp(-0.6 * (f - 3.3) ** 2) + 1e-3 * f**4).clamp(max=70) / 10)


class Loudness(torch.nn.Module):
    """Disturbance between waves (B, N): 0 for equal ones, about 3 for speech that is ruined.

    Both become loudness over Bark bands (Zwicker's power law above the threshold in quiet), the level and the spectral
    tilt that a listener forgives are taken out, and what differs by more than it is masked counts: once as it is, and once more
    where something was added that was not there. It follows the model of PESQ (Rix et al., 2001, Perceptual evaluation of
    speech quality) without its search for delays, made differentiable as Martin-Donas et al., 2018, A Deep Learning Loss
    Function Based on the Perceptual Evaluation of the Speech Quality.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.size = 2 ** round(math.log2(sample_rate * WINDOW_SECONDS))
        bins = torch.arange(self.size // 2 + 1) * sample_rate / self.size
        top = min(sample_rate / 2, 8000.0)
        edges = torch.linspace(float(bark(torch.tensor(50.0))), float(bark(torch.tensor(top))), BANDS + 1)
        low, high = edges[:-1], edges[1:]
        step = bark(bins + sample_rate / self.size / 2) - bark((bins - sample_rate / self.size / 2).clamp(min=0))
        start = bark((bins - sample_rate / self.size / 2).clamp(min=0))
        shared = torch.minimum((start + step)[:, None], high) - torch.maximum(start[:, None], low)
        self.register_buffer("bands", shared.clamp(min=0) / step[:, None].clamp(min=1e-6), persistent=False)
        centres = 650 * torch.sinh((low + high) / 2 / 7)
        self.register_buffer("threshold", hearing_threshold(centres), persistent=False)
        self.register_buffer("widths", (high - low).clone(), persistent=False)
        self.total = float((high - low).sum())
        self.register_buffer("speech", ((bins >= SPEECH_BAND[0]) & (bins <= SPEECH_BAND[1])).float(), persistent=False)
        self.register_buffer("taper", torch.hann_window(self.size), persistent=False)
        self.bands: torch.Tensor
        self.threshold: torch.Tensor
        self.widths: torch.Tensor
        self.speech: torch.Tensor
        self.taper: torch.Tensor

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if estimate.shape[1] < self.size:
            return estimate.new_zeros(())
        with torch.autocast(estimate.device.type, enabled=False):
            reference, degraded = self._bark_power(target.float()), self._bark_power(estimate.float())
            active = (reference.sum(2, keepdim=True) > SILENT_POWER).to(reference)
            tilt = ((degraded * active).sum(1) + 1e3) / ((reference * active).sum(1) + 1e3)
            reference = reference * tilt.clamp(0.01, 100)[:, None]
            gain = ((reference.sum(2) + 5e3) / (degraded.sum(2) + 5e3)).clamp(3e-4, 5)
            gain = torch.cat([gain[:, :1], 0.2 * gain[:, :-1] + 0.8 * gain[:, 1:]], 1)
            degraded = degraded * gain[..., None]
            return self._disturbance(reference, degraded).mean()

    def _bark_power(self, wave: torch.Tensor) -> torch.Tensor:
        """Power (B, T, BANDS) over that of 0 dB, the whole wave brought to the listening level."""
        frames = framed(wave, self.size, self.size // 2) * self.taper
        power = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1)
        level = (power @ self.speech).mean(1).clamp(min=1e-3) / LISTENING_POWER
        return power @ self.bands / level[:, None, None]

    def _loudness(self, power: torch.Tensor) -> torch.Tensor:
        base = (self.threshold / 0.5) ** ZWICKER_POWER
        return (0.1866 * base * ((0.5 + 0.5 * power / self.threshold) ** ZWICKER_POWER - 1)).clamp(min=0)

    def _disturbance(self, reference: torch.Tensor, degraded: torch.Tensor) -> torch.Tensor:
        """The loss of a clip (B,): what PESQ takes off its 4.5."""
        one, other = self._loudness(reference), self._loudness(degraded)
        difference = other - one
        masked = MASK * torch.minimum(one, other)
        rest = difference.sign() * (difference.abs() - masked).clamp(min=0)
        added = ((degraded + 50) / (reference + 50)) ** 1.2
        added = torch.where(added < 3, torch.zeros_like(added), added.clamp(max=ASYMMETRY_LIMIT))
        widths = self.widths / self.widths.sum()
        plain = self.total * ((rest.square() @ widths) + 1e-8).sqrt()
        unequal = self.total * ((rest.abs() * added) @ widths)
        weight = ((reference.sum(2) + 1e5) / 1e7) ** 0.04
        plain, unequal = (LIMIT * torch.tanh(d / weight / LIMIT) for d in (plain, unequal))
        return 0.1 * self._over_time(plain) + 0.0309 * self._over_time(unequal)

    def _over_time(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B,): the sixth-power mean of each 320 ms, then the root mean square of those."""
        size = min(GROUP, frames.shape[1])
        groups = frames.unfold(1, size, max(1, size // 2))
        peaks = (groups / LIMIT + 1e-4).pow(6).mean(2).pow(1 / 6) * LIMIT
        return peaks.square().mean(1).sqrt()
