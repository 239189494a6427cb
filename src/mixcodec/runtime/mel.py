"""Mel distance: how far two signals are from each other on a mel spectrogram.

The mean over frames and bands of |ln max(m1, 1e-5) - ln max(m2, 1e-5)|, where m is the amplitude spectrum (Hann window
of 1024 samples, hop 256, no padding at the ends but up to one whole window) summed into 80 triangular bands, evenly
spaced on the mel scale 2595 log10(1 + f / 700) from 0 Hz to half the sample rate, each of peak 1. Channels are
averaged. Zero for equal signals; the mel losses of vocoder papers are this measure with other constants.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import AudioReader, Resampler, Wave
from mixcodec.files import PathLike
from mixcodec.mel import mel_filters

WINDOW = 1024
HOP = 256
BANDS = 80
FLOOR = 1e-5


class MelDistance:
    """The mel distance of two signals that arrive in pieces of any, also unequal, length; both (C, n)."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._filters = mel_filters(sample_rate, WINDOW, BANDS)
        self._window = np.hanning(WINDOW + 1)[:-1]
        self._waiting = [np.zeros((channels, 0), np.float32), np.zeros((channels, 0), np.float32)]
        self._sum = 0.0
        self._count = 0

    def push(self, one: Wave, other: Wave) -> None:
        """Take the next samples of both signals."""
        self._waiting = [np.concatenate(pair, axis=1) for pair in zip(self._waiting, (one, other), strict=True)]
        shared = min(wave.shape[1] for wave in self._waiting)
        frames = (shared - WINDOW) // HOP + 1
        if frames > 0:
            first, second = (self._log_mel(wave[:, : (frames - 1) * HOP + WINDOW]) for wave in self._waiting)
            self._sum += float(np.abs(first - second).sum())
            self._count += first.size
            self._waiting = [wave[:, frames * HOP :] for wave in self._waiting]

    def finish(self) -> float:
        """The distance; 0 for signals without a sample."""
        shared = min(wave.shape[1] for wave in self._waiting)
        if not self._count and shared:
            missing = np.zeros((self._waiting[0].shape[0], WINDOW - shared), np.float32)
            self.push(missing, missing)
        return self._sum / self._count if self._count else 0.0

    def _log_mel(self, wave: Wave) -> NDArray[np.float64]:
        frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW, axis=1)[:, ::HOP]
        mel = np.abs(np.fft.rfft(frames * self._window)) @ self._filters
        return np.asarray(np.log(np.maximum(mel, FLOOR)))


def file_mel_distance(one: PathLike, other: PathLike, sample_rate: int) -> float:
    """The mel distance of two audio files of as many channels, both resampled to `sample_rate` Hz, block by block.

    Raises:
        FileError, AudioError: a file cannot be read.
    """
    with AudioReader(one) as first, AudioReader(other) as second:
        channels = first.channels
        distance = MelDistance(sample_rate, channels)
        resamplers = [Resampler(reader.sample_rate, sample_rate, channels) for reader in (first, second)]
        for pair in zip(first.blocks(), second.blocks(), strict=True):
            rows = [wave.reshape(channels, -1) for wave in pair]
            distance.push(*(resampler.push(wave) for resampler, wave in zip(resamplers, rows, strict=True)))
        distance.push(*(resampler.finish() for resampler in resamplers))
        return distance.finish()
