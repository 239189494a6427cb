"""Bands of a wave, and their envelopes, by filters without delay."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave

ORDER = 4
"""Of the Butterworth filter whose squared magnitude is applied: as if it ran over the wave forwards and then backwards."""
PADDING_SECONDS = 0.1
"""Of zeros, in which the filters die away, so that the wave's end does not come round to its beginning."""
BLOCK = 4096
"""Samples; the transform is as long as a multiple of it, for speed."""


def highpass(wave: Wave, sample_rate: int, cut: float) -> NDArray[np.float64]:
    """`wave` (N,) without what is below `cut` Hz (6 dB down there, 48 dB an octave)."""
    size = _size(len(wave), sample_rate)
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    gain = 1 / (1 + (cut / np.maximum(hertz, 1e-9)) ** (2 * ORDER))
    return np.asarray(np.fft.irfft(np.fft.rfft(wave, size) * gain, size)[: len(wave)])


def envelope(wave: Wave, sample_rate: int, low: float, high: float) -> NDArray[np.float64]:
    """The magnitude (N,) of the analytic signal of `wave` (N,) between `low` and `high` Hz (6 dB down at both)."""
    size = _size(len(wave), sample_rate)
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), 1e-9)
    gain = 1 / (1 + ((hertz**2 - low * high) / (hertz * (high - low))) ** (2 * ORDER))
    spectrum = np.zeros(size, np.complex128)
    spectrum[: len(hertz)] = 2 * gain * np.fft.rfft(wave, size)
    return np.asarray(np.abs(np.fft.ifft(spectrum)[: len(wave)]))


def _size(samples: int, sample_rate: int) -> int:
    return math.ceil((samples + PADDING_SECONDS * sample_rate) / BLOCK) * BLOCK
