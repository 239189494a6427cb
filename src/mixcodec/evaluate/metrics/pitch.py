"""Pitch: whether the decoded voice is voiced where the reference is, and on the same notes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError, finite
from mixcodec.extras import need_package
from mixcodec.judges.pitch import WORST_CENTS, pitch_errors, shared_frames, track_pitch


@METRICS.register("pitch")
class Pitch(Metric):
    """F1 of voiced frames; Pearson's correlation of log F0 over the frames that are voiced in both clips; errors of F0 there.

    The fine error is the root mean square in cents of what is within 20 %; the gross error is the share of what is not.
    """

    kind = "pitch"
    scales = (
        Scale("voicing_f1", "voicing F1", 0.0, 1.0, higher_is_better=True),
        Scale("f0_correlation", "F0 correlation", -1.0, 1.0, higher_is_better=True),
        Scale("f0_error", "F0 error", 0.0, WORST_CENTS, higher_is_better=False, unit="cents", digits=1),
        Scale("f0_gross", "F0 gross errors", 0.0, 1.0, higher_is_better=False, coarse=True),
        Scale("voicing_error", "voicing errors", 0.0, 1.0, higher_is_better=False),
    )
    source = (
        "Boersma, 1993, Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled "
        "sound; package praat-parselmouth (Jadoul, Thompson, de Boer, 2018); gross and fine errors: Rabiner, Cheng, Rosenberg, "
        "McGonegal, 1976, A comparative performance study of several pitch detection algorithms"
    )
    sample_rate = 16000
    speech_only = True
    packages = ("praat-parselmouth",)
    extra = "eval-pitch"

    def check(self) -> None:
        need_package("parselmouth", self.extra, f"metric {self.kind}")

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> NDArray[np.float64]:
        """F0 of the reference (frames,) in Hz, 0 where it is unvoiced."""
        return track_pitch(reference, sample_rate).f0

    def measure(self, prepared: NDArray[np.float64], wave: Wave, sample_rate: int) -> dict[str, float]:
        reference, f0, shared = shared_frames(prepared, track_pitch(wave, sample_rate).f0)
        f1 = 2 * int(shared.sum()) / int(np.count_nonzero(reference) + np.count_nonzero(f0))
        melodies = [np.log(track[shared]) for track in (reference, f0)]
        first, second = (melody - melody.mean() for melody in melodies)
        spread = np.sqrt((first @ first) * (second @ second))
        if not spread > np.finfo(np.float64).eps * int(shared.sum()):
            raise UnscorableError("the pitch does not move")
        correlation = np.clip(first @ second / spread, -1, 1)
        errors = pitch_errors(reference, f0)
        return {
            "voicing_f1": f1,
            "f0_correlation": finite(correlation, "F0 correlation"),
            "f0_error": errors.cents,
            "f0_gross": errors.gross,
            "voicing_error": errors.voicing,
        }
