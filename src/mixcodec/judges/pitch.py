"""Pitch: the fundamental frequency of a voice, by Praat, and how well a decoded voice keeps it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.judges.base import UnscorableError

STEP_SECONDS = 0.01
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
"""Deep male voices to children's."""
MIN_SHARED_FRAMES = 10
GROSS = 0.2
"""The share by which a gross error differs from the true F0; an octave is one."""
WORST_CENTS = 1200 * float(np.log2(1 + GROSS))
"""The largest error that is not gross."""


class Pitch(NamedTuple):
    """F0 of a wave, one frame every 10 ms."""

    times: NDArray[np.float64]
    """The middle of each frame, in s."""
    f0: NDArray[np.float64]
    """Hz (frames,), 0 where the wave is unvoiced."""


class PitchErrors(NamedTuple):
    """How a decoded voice's pitch differs from the reference's."""

    cents: float
    """Root mean square over the frames voiced in both, gross errors left out; WORST_CENTS where all of them are gross."""
    gross: float
    """Share of the frames voiced in both whose F0 is more than 20 % off."""
    voicing: float
    """Share of all frames that are voiced in one of the two alone."""


def track_pitch(wave: Wave, sample_rate: int) -> Pitch:
    """F0 of `wave` (N,); no frame at all where it is shorter than Praat's window.

    Praat's estimator (Boersma, 1993, Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise
    ratio of a sampled sound) stays on the right octave under noise, where DIO and Harvest of WORLD begin to jump.
    """
    import parselmouth

    if not len(wave):
        return Pitch(np.zeros(0), np.zeros(0))
    sound = parselmouth.Sound(wave.astype(np.float64), float(sample_rate))
    try:
        pitch = sound.to_pitch_ac(STEP_SECONDS, LOWEST_HZ, pitch_ceiling=HIGHEST_HZ)
    except parselmouth.PraatError:
        return Pitch(np.zeros(0), np.zeros(0))
    return Pitch(np.asarray(pitch.xs(), np.float64), np.asarray(pitch.selected_array["frequency"], np.float64))


def shared_frames(
    reference: NDArray[np.float64], f0: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Both tracks (frames,) in Hz, cut to the shorter one, and where both are voiced.

    Raises:
        UnscorableError: the reference is nowhere voiced, or too few frames are voiced in both.
    """
    if not reference.any():
        raise UnscorableError("no voiced frame in the reference")
    count = min(len(f0), len(reference))
    reference, f0 = reference[:count], f0[:count]
    shared = (reference > 0) & (f0 > 0)
    if (found := int(shared.sum())) < MIN_SHARED_FRAMES:
        raise UnscorableError(f"{found} frames voiced in both clips, fewer than {MIN_SHARED_FRAMES}")
    return reference, f0, shared


def pitch_errors(reference: NDArray[np.float64], f0: NDArray[np.float64]) -> PitchErrors:
    """The errors of the track `f0` (frames,) in Hz, 0 where unvoiced, against the track `reference`.

    Gross and fine errors apart, as Rabiner, Cheng, Rosenberg, McGonegal, 1976, A comparative performance study of several
    pitch detection algorithms, count them.

    Raises:
        UnscorableError: the reference is nowhere voiced, or too few frames are voiced in both.
    """
    reference, f0, shared = shared_frames(reference, f0)
    ratio = f0[shared] / reference[shared]
    gross = np.abs(ratio - 1) > GROSS
    fine = 1200 * np.log2(ratio[~gross])
    cents = min(float(np.sqrt(np.mean(fine**2))), WORST_CENTS) if len(fine) else WORST_CENTS
    return PitchErrors(cents, float(gross.mean()), float(np.mean((reference > 0) != (f0 > 0))))
