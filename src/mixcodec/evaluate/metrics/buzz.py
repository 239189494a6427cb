"""Buzz: whether the decoded voice still has harmonics above 1.5 kHz, and none of the decoder's own frame rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.errors import ConfigError
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale
from mixcodec.extras import need_package
from mixcodec.judges import harmonicity, modulation

FRAME_RATE = 50.0
"""Hz; that of the codecs here, and of Opus and Codec2."""
FRAME_RATES = (5.0, 500.0)


@METRICS.register("harmonicity")
class Harmonicity(Metric):
    """Harmonics over noise above 1.5 kHz, over the frames that are voiced in the reference, and its change from the original.

    A value below the original's is hoarse, one above it is a machine's; both are faults, so the difference is best at 0.
    """

    kind = "harmonicity"
    scales = (
        Scale("harmonicity", "harmonicity", -150.0, 150.0, higher_is_better=True, unit="dB", digits=1, compares=False),
        Scale("harmonicity_change", "harmonicity change", -300.0, 300.0, False, unit="dB", digits=1, middle=0.0),
    )
    source = (
        "Boersma, 1993, Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled "
        "sound (cross-correlation, of what is above 1.5 kHz); package praat-parselmouth (Jadoul, Thompson, de Boer, 2018)"
    )
    sample_rate = 16000
    speech_only = True
    packages = ("praat-parselmouth",)
    extra = "eval-pitch"

    def check(self) -> None:
        need_package("parselmouth", self.extra, f"metric {self.kind}")

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> harmonicity.Harmonics:
        """The frames of the reference that count, and their harmonicity."""
        return harmonicity.reference_harmonicity(reference, sample_rate)

    def measure(self, prepared: harmonicity.Harmonics, wave: Wave, sample_rate: int) -> dict[str, float]:
        value = harmonicity.harmonicity(prepared, wave, sample_rate)
        return {"harmonicity": value, "harmonicity_change": value - prepared.decibels}


@METRICS.register("modulation")
class Modulation(Metric):
    """How much more the envelope of 2 to 4 kHz beats at 1, 2 and 3 times the frame rate than that of the original does.

    The difference, in dB, of each multiple over its neighbours. More is a buzz; less is a voice's own beating lost.
    """

    kind = "modulation"
    scales = (
        Scale("modulation_1", "modulation at frame rate", -300.0, 300.0, False, unit="dB", digits=1, middle=0.0),
        Scale("modulation_2", "modulation at 2 × frame rate", -300.0, 300.0, False, unit="dB", digits=1, middle=0.0),
        Scale("modulation_3", "modulation at 3 × frame rate", -300.0, 300.0, False, unit="dB", digits=1, middle=0.0),
    )
    source = (
        "computed here (mixcodec.judges.modulation); its spectrum: Welch, 1967, The use of fast Fourier transform for the "
        "estimation of power spectra"
    )
    sample_rate = 16000
    speech_only = True

    def __init__(self, frame_rate: float = FRAME_RATE) -> None:
        """`frame_rate` in Hz: that of the codec under test.

        Raises:
            ConfigError: it is not from 5 to 500 Hz.
        """
        if not FRAME_RATES[0] <= frame_rate <= FRAME_RATES[1]:
            raise ConfigError(f"frame_rate is {frame_rate!r}, but must be a number of Hz from 5 to 500")
        self._frame_rate = frame_rate

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> NDArray[np.float64]:
        """The modulation (3,) of the reference in dB."""
        return modulation.modulation(reference, sample_rate, self._frame_rate)

    def measure(self, prepared: NDArray[np.float64], wave: Wave, sample_rate: int) -> dict[str, float]:
        changes = modulation.modulation(wave, sample_rate, self._frame_rate) - prepared
        return {scale.name: float(value) for scale, value in zip(self.scales, changes, strict=True)}
