"""Speaker similarity: does the decoded clip still sound like the same person?"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError, finite
from mixcodec.extras import need_package
from mixcodec.judges.base import one_thread

RATE = 16000
MIN_SPEECH_SECONDS = 0.8
"""Half of the 1.6 s on which the network was trained: of less, most of what it hears would be padding."""


@METRICS.register("speaker_similarity")
class SpeakerSimilarity(Metric):
    """Cosine of the d-vectors of both clips, after their long pauses are cut out."""

    kind = "speaker_similarity"
    # The last layer is a ReLU, so no component is negative and neither is the cosine.
    scales = (Scale("speaker_similarity", "speaker similarity", 0.0, 1.0, higher_is_better=True),)
    source = "Wan, Wang, Papir, Lopez Moreno, 2018, Generalized end-to-end loss for speaker verification; package resemblyzer"
    sample_rate = RATE
    speech_only = True
    packages = ("resemblyzer",)
    extra = "eval-speaker"

    def check(self) -> None:
        _resemblyzer(self.extra)

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> NDArray[np.float64] | None:
        """The d-vector of the reference, or None where it has too little speech."""
        return _embed(reference, MIN_SPEECH_SECONDS)

    def measure(self, prepared: NDArray[np.float64] | None, wave: Wave, sample_rate: int) -> dict[str, float]:
        if prepared is None:
            raise UnscorableError(f"less than {MIN_SPEECH_SECONDS} s of speech in the reference")
        embedding = _embed(wave, 0.0)
        if embedding is None:
            raise UnscorableError("no speech in the decoded clip")
        return {"speaker_similarity": finite(float(np.minimum(1.0, prepared @ embedding)), "speaker similarity")}


def _resemblyzer(extra: str = SpeakerSimilarity.extra) -> ModuleType:
    wanted_by = f"metric {SpeakerSimilarity.kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "webrtcvad" not in sys.modules and importlib.util.find_spec("pkg_resources") is None:
            _import_webrtcvad()
        return need_package("resemblyzer", extra, wanted_by)


def _import_webrtcvad() -> None:
    """Import webrtcvad where setuptools brings no pkg_resources any more (since release 82).

    It asks pkg_resources for its own version and for nothing else; a stand-in answers that while it is imported.
    """
    stand_in: Any = ModuleType("pkg_resources")
    stand_in.get_distribution = importlib.metadata.distribution
    sys.modules["pkg_resources"] = stand_in
    try:
        importlib.import_module("webrtcvad")
    except ImportError:
        pass  # resemblyzer says so itself
    finally:
        del sys.modules["pkg_resources"]


@functools.cache
def _encoder() -> Any:
    return _resemblyzer().VoiceEncoder("cpu", verbose=False)


def _embed(wave: Wave, least_seconds: float) -> NDArray[np.float64] | None:
    """The d-vector (256,) of length 1, or None where at most `least_seconds` of speech are found."""
    if not np.any(wave):
        return None
    with warnings.catch_warnings(), np.errstate(all="ignore"), one_thread():
        warnings.simplefilter("ignore")
        speech = _resemblyzer().preprocess_wav(np.clip(wave, -1, 1))
        if len(speech) <= least_seconds * RATE:
            return None
        embedding = np.asarray(_encoder().embed_utterance(speech), np.float64)
    return np.asarray(embedding / np.linalg.norm(embedding))
