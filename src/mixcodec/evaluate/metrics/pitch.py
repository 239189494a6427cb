"""Pitch: whether the decoded voice is voiced where the reference is, and whether its melody moves alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.evaluate.extras import need_package
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError, finite

STEP_SECONDS = 0.01
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
"""Deep male voices to children's."""
MIN_SHARED_FRAMES = 10


@METRICS.register("pitch")
class Pitch(Metric):
    """F1 of voiced frames, and Pearson's correlation of log F0 over the frames that are voiced in both clips.

    Praat's estimator stays on the right octave under noise, where DIO and Harvest of WORLD begin to jump.
    """

    kind = "pitch"
    scales = (
        Scale("voicing_f1", "voicing F1", 0.0, 1.0, higher_is_better=True),
        Scale("f0_correlation", "F0 correlation", -1.0, 1.0, higher_is_better=True),
    )
    source = (
        "Boersma, 1993, Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled "
        "sound; package praat-parselmouth (Jadoul, Thompson, de Boer, 2018)"
    )
    sample_rate = 16000
    speech_only = True
    packages = ("praat-parselmouth",)
    extra = "eval-pitch"

    def check(self) -> None:
        need_package("parselmouth", self.extra, f"metric {self.kind}")

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> NDArray[np.float64]:
        """F0 of the reference (frames,) in Hz, 0 where it is unvoiced."""
        return _f0(reference, sample_rate)

    def measure(self, prepared: NDArray[np.float64], wave: Wave, sample_rate: int) -> dict[str, float]:
        if not prepared.any():
            raise UnscorableError("no voiced frame in the reference")
        f0 = _f0(wave, sample_rate)
        count = min(len(f0), len(prepared))
        reference, f0 = prepared[:count], f0[:count]
        shared = (reference > 0) & (f0 > 0)
        if (found := int(shared.sum())) < MIN_SHARED_FRAMES:
            raise UnscorableError(f"{found} frames voiced in both clips, fewer than {MIN_SHARED_FRAMES}")
        f1 = 2 * found / int(np.count_nonzero(reference) + np.count_nonzero(f0))
        melodies = [np.log(track[shared]) for track in (reference, f0)]
        first, second = (melody - melody.mean() for melody in melodies)
        spread = np.sqrt((first @ first) * (second @ second))
        if not spread > np.finfo(np.float64).eps * found:
            raise UnscorableError("the pitch does not move")
        correlation = np.clip(first @ second / spread, -1, 1)
        return {"voicing_f1": f1, "f0_correlation": finite(correlation, "F0 correlation")}


def _f0(wave: Wave, sample_rate: int) -> NDArray[np.float64]:
    """F0 (frames,) in Hz every 10 ms, 0 where `wave` is unvoiced; no frame at all where it is shorter than Praat's window."""
    import parselmouth

    if not len(wave):
        return np.zeros(0)
    sound = parselmouth.Sound(wave.astype(np.float64), float(sample_rate))
    try:
        pitch = sound.to_pitch_ac(STEP_SECONDS, LOWEST_HZ, pitch_ceiling=HIGHEST_HZ)
    except parselmouth.PraatError:
        return np.zeros(0)
    return np.asarray(pitch.selected_array["frequency"], np.float64)
