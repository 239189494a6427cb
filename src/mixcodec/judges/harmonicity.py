"""Harmonicity: how far harmonics stand above noise where the ear hears a buzz, above 1.5 kHz."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.judges.bands import highpass
from mixcodec.judges.base import UnscorableError
from mixcodec.judges.pitch import track_pitch

CUT_HZ = 1500.0
STEP_SECONDS = 0.01
LOWEST_HZ = 75.0
PERIODS = 1.0
SILENCE = 0.1
"""A frame of the reference whose peak in the band is below this share of the clip's is left out. All four are Praat's own."""
DEAD = 0.001
"""Likewise of a decoded clip, whose frames are chosen by the reference: only what is as good as digital silence."""
NO_VALUE_DB = -200.0
"""What Praat gives such a frame."""
NOISE_DB = -10.0
"""What it counts as in a decoded clip: it has no harmonic. White noise has -5 dB."""
MIN_FRAMES = 10


class Harmonics(NamedTuple):
    """What is known of a reference."""

    frames: NDArray[np.bool_]
    """Those over which the mean is taken: voiced, and loud enough above 1.5 kHz."""
    decibels: float
    """Harmonics over noise: the mean over these frames."""


def reference_harmonicity(wave: Wave, sample_rate: int) -> Harmonics:
    """The frames of the reference `wave` (N,) that count, and their harmonicity.

    Raises:
        UnscorableError: fewer than ten frames are voiced and loud enough.
    """
    times, ratios = _harmonicity(wave, sample_rate, SILENCE)
    pitch = track_pitch(wave, sample_rate)
    frames = (ratios > NO_VALUE_DB) & _voiced(pitch.times, pitch.f0, times)
    if (found := int(frames.sum())) < MIN_FRAMES:
        raise UnscorableError(f"{found} voiced frames with sound above {CUT_HZ:g} Hz in the reference, fewer than {MIN_FRAMES}")
    return Harmonics(frames, float(ratios[frames].mean()))


def harmonicity(reference: Harmonics, wave: Wave, sample_rate: int) -> float:
    """Harmonics over noise in dB above 1.5 kHz, of `wave` (N,) as long as the reference: the mean over the reference's frames.

    Praat's harmonicity by cross-correlation (Boersma, 1993, Accurate short-term analysis of the fundamental frequency and the
    harmonics-to-noise ratio of a sampled sound), 10 ms apart, of the wave without what is below 1.5 kHz.

    Raises:
        UnscorableError: the wave is silent, or too short.
    """
    if not np.any(wave):
        raise UnscorableError("the decoded clip is silent")
    ratios = _harmonicity(wave, sample_rate, DEAD)[1]
    if len(ratios) != len(reference.frames):
        raise UnscorableError("the decoded clip is not as long as the reference")
    ratios = np.where(ratios > NO_VALUE_DB, ratios, NOISE_DB)
    return float(ratios[reference.frames].mean())


def _harmonicity(wave: Wave, sample_rate: int, silence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times in s and ratios in dB of the frames; none at all where the wave is shorter than Praat's window."""
    import parselmouth

    if not len(wave):
        return np.zeros(0), np.zeros(0)
    sound = parselmouth.Sound(highpass(wave, sample_rate, CUT_HZ), float(sample_rate))
    try:
        found = sound.to_harmonicity_cc(STEP_SECONDS, LOWEST_HZ, silence, PERIODS)
    except parselmouth.PraatError:
        return np.zeros(0), np.zeros(0)
    return np.asarray(found.xs(), np.float64), np.asarray(found.values[0], np.float64)


def _voiced(times: NDArray[np.float64], f0: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the frame of F0 nearest to each time `at` (s) is voiced; none is where there is no frame."""
    if not len(times):
        return np.zeros(len(at), np.bool_)
    nearest = np.clip(np.rint((at - times[0]) / STEP_SECONDS), 0, len(times) - 1).astype(int)
    return np.asarray(f0[nearest] > 0)
