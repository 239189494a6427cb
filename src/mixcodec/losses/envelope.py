"""Correlation of band envelopes: what intelligibility measures listen to."""

import math

import torch
import torch.nn.functional as F

from mixcodec.losses.frames import framed
from mixcodec.nn.processes import mean_over_processes

BANDS = 15  # third octaves from 150 Hz up
LOWEST = 150.0
WINDOW_SECONDS = 0.0256
SEGMENT_FRAMES = 30  # of half a window each: 384 ms
RANGE_DB = 40.0  # segments further below the loudest one don't count


def third_octaves(sample_rate: int, window: int) -> torch.Tensor:
    """Membership of the bins of a `window`-point DFT in third-octave bands, (window // 2 + 1, BANDS), 0 or 1."""
    f = torch.arange(window // 2 + 1) * sample_rate / window
    centres = LOWEST * 2 ** (torch.arange(BANDS) / 3)
    low, high = centres * 2 ** (-1 / 6), centres * 2 ** (1 / 6)
    return ((f[:, None] >= low) & (f[:, None] < high)).float()


class Envelope(torch.nn.Module):
    """1 - mean correlation of third-octave envelopes over 384 ms, between waves (B, N); in [0, 2], 0 for equal ones.

    Silence has no envelope to follow: where the target has none, the value is 1.

    The core of STOI (Taal et al., 2011, An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech)
    without its clipping, as a loss (Fu et al., 2018, End-to-End Waveform Utterance Enhancement for Direct Evaluation Metrics
    Optimization by Fully Convolutional Neural Networks). Waves shorter than a segment give 0. In training, segments are
    counted over all processes that train together, which must come here equally often.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.hop = round(sample_rate * WINDOW_SECONDS / 2)
        self.size = 2 ** math.ceil(math.log2(4 * self.hop))  # zero-padded, so that the lowest band has bins
        self.register_buffer("taper", torch.hann_window(2 * self.hop), persistent=False)
        self.register_buffer("bands", third_octaves(sample_rate, self.size), persistent=False)
        self.taper: torch.Tensor
        self.bands: torch.Tensor

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.autocast(estimate.device.type, enabled=False):
            x, y = self._segments(target.float()), self._segments(estimate.float())
            if x is None or y is None:
                return estimate.new_zeros(())
            power = x.square().mean((1, 3))  # (B, S)
            loud = (power > power.amax(1, keepdim=True) * 10 ** (-RANGE_DB / 10)).to(x)
            x, y = x - x.mean(3, keepdim=True), y - y.mean(3, keepdim=True)
            correlation = F.cosine_similarity(x, y, dim=3, eps=1e-5).mean(1)
            count = mean_over_processes(loud.sum()) if self.training else loud.sum()
            return 1 - (correlation * loud).sum() / count.clamp(min=1)

    def _segments(self, wave: torch.Tensor) -> torch.Tensor | None:
        """Envelopes (B, BANDS, S, SEGMENT_FRAMES) of segments that overlap by two thirds; None if there is no whole one."""
        if wave.shape[1] < (SEGMENT_FRAMES + 1) * self.hop:
            return None
        spectrum = torch.fft.rfft(framed(wave, 2 * self.hop, self.hop) * self.taper, self.size)
        power = torch.view_as_real(spectrum).square().sum(-1)
        envelope = (power @ self.bands + 1e-8).sqrt()
        return envelope.transpose(1, 2).unfold(2, SEGMENT_FRAMES, SEGMENT_FRAMES // 3)
