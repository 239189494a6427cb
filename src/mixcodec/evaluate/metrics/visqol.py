"""ViSQOL: how alike two clips sound, from the similarity of their gammatone spectrograms."""

from __future__ import annotations

import functools
import logging
import threading
import warnings
from typing import Any, ClassVar

import numpy as np

from mixcodec.audio import Wave
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError, finite
from mixcodec.extras import need_package

MEASURING = threading.Lock()
"""The package's compiled loops end the process when two threads run them at once."""


class _Visqol(Metric):
    """ViSQOL in one of its two modes."""

    packages = ("visqol-python",)
    extra = "eval-visqol"
    mode: ClassVar[str]
    min_seconds: ClassVar[float]
    """Of less there is no patch to compare."""

    def check(self) -> None:
        need_package("visqol", self.extra, f"metric {self.kind}")
        need_package("numba", self.extra, f"metric {self.kind}")

    def measure(self, prepared: Wave, wave: Wave, sample_rate: int) -> dict[str, float]:
        if len(wave) < self.min_seconds * sample_rate:
            raise UnscorableError(f"shorter than {self.min_seconds} s")
        for what, signal in (("reference", prepared), ("decoded clip", wave)):
            if not np.any(signal):
                raise UnscorableError(f"the {what} is silent")
        with MEASURING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import numba

            numba.set_num_threads(1)
            try:
                result = _visqol(self.mode).measure_from_arrays(prepared.astype(np.float64), wave.astype(np.float64), sample_rate)
            except (IndexError, ValueError) as error:
                raise UnscorableError(f"ViSQOL: {error}") from None
        return {self.kind: finite(result.moslqo, "ViSQOL")}


@METRICS.register("visqol_speech")
class VisqolSpeech(_Visqol):
    """ViSQOL for speech, at 16 kHz.

    Its similarity is mapped to MOS by the exponential curve of version 3.1, not by the lattice network that is the default
    since 3.2: the lattice also looks at the spectrum of the clip, and gives perfect copies anything from 3.8 to 4.8.
    """

    kind = "visqol_speech"
    scales = (Scale("visqol_speech", "ViSQOL speech", 1.0, 5.0, higher_is_better=True),)
    source = (
        "Chinen, Lim, Skoglund, Gureev, O'Gorman, Hines, 2020, ViSQOL v3: an open source production ready objective speech and "
        "audio metric (speech mode, exponential mapping scaled to 5); package visqol-python"
    )
    sample_rate = 16000
    speech_only = True
    mode = "speech"
    min_seconds = 0.7


@METRICS.register("visqol_audio")
class VisqolAudio(_Visqol):
    """ViSQOL for music and all other sound, at 48 kHz."""

    kind = "visqol_audio"
    # The highest: what the support vector regression gives for a similarity of 1 in all bands.
    scales = (Scale("visqol_audio", "ViSQOL audio", 1.0, 4.732101253042348, higher_is_better=True),)
    source = (
        "Hines, Gillen, Kelly, Skoglund, Kokaram, Harte, 2015, ViSQOLAudio: an objective audio quality metric for low bitrate "
        "codecs (version 3: Chinen and others, 2020); package visqol-python"
    )
    sample_rate = 48000
    mode = "audio"
    min_seconds = 1.0


@functools.cache
def _visqol(mode: str) -> Any:
    from visqol import VisqolApi

    # Its warnings of patches left out reach whoever has set up logging, and not the terminal of whoever has not.
    logging.getLogger("visqol").addHandler(logging.NullHandler())
    api = VisqolApi()
    api.create(mode=mode, use_lattice_model=False)
    return api
