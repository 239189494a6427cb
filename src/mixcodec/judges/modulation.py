"""Modulation at the frame rate: the buzz of a decoder whose frames repeat one pattern."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.judges.bands import envelope
from mixcodec.judges.base import UnscorableError

LOW_HZ, HIGH_HZ = 2000.0, 4000.0
MULTIPLES = (1, 2, 3)
WINDOW_FRAMES = 25
"""Periods of the frame rate in a window: 0.5 s of 50 Hz. Bins are then a 25th of the frame rate apart."""
NEAR, FAR = 0.1, 0.3
"""Where the neighbours of a multiple lie, on both of its sides, in frame rates: 5 to 15 Hz of 50."""
MIN_WINDOWS = 3
"""Half of each overlaps the next: 1 s of 50 Hz."""


def modulation(wave: Wave, sample_rate: int, frame_rate: float = 50.0) -> NDArray[np.float64]:
    """How far the envelope of 2 to 4 kHz has more at 1, 2 and 3 times `frame_rate` (Hz) than beside it: dB (3,).

    The envelope's spectrum is Welch's (1967, The use of fast Fourier transform for the estimation of power spectra): Hann
    windows of 25 frames, half overlapping, their powers added, so that loud places weigh most and pauses nothing. The bin at the
    multiple is set against the mean of those from 0.1 to 0.3 frame rates away. Noise has 0 dB, a little less in short clips; a
    voice has what its own pitch makes of it, so only the difference from the original tells of the decoder.

    Raises:
        UnscorableError: the wave is shorter than three windows, or silent in the band.
    """
    size = round(WINDOW_FRAMES * sample_rate / frame_rate)
    hop = size // 2
    if len(wave) < size + (MIN_WINDOWS - 1) * hop:
        raise UnscorableError(f"shorter than {(size + (MIN_WINDOWS - 1) * hop) / sample_rate:g} s")
    frames = np.lib.stride_tricks.sliding_window_view(envelope(wave, sample_rate, LOW_HZ, HIGH_HZ), size)[::hop]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    power = (np.abs(np.fft.rfft((frames - frames.mean(1, keepdims=True)) * window)) ** 2).sum(0)
    bins = np.arange(len(power)) / WINDOW_FRAMES  # in frame rates
    ratios = []
    for multiple in MULTIPLES:
        away = np.abs(bins - multiple)
        neighbours = power[(away > NEAR - 1e-6) & (away < FAR + 1e-6)].mean()
        ratios.append(power[multiple * WINDOW_FRAMES] / max(neighbours, np.finfo(np.float64).tiny))
    if not power.any() or min(ratios) <= 0:
        raise UnscorableError(f"silent from {LOW_HZ:g} to {HIGH_HZ:g} Hz")
    return 10 * np.log10(ratios)
