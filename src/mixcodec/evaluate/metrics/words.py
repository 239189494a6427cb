"""Words: what a speech recogniser makes of the decoded clip, against what was said."""

from __future__ import annotations

import functools
import os
import unicodedata
import warnings
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from mixcodec.audio import Wave
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError
from mixcodec.evaluate.whisper import EXTRA, find_whisper, joined_whisper
from mixcodec.extras import need_package

RATE = 16000
WANTED_BY = "metric words"


class Recogniser(Protocol):
    """Turns speech into text. Two calls with equal arguments give equal answers."""

    def language(self, wave: Wave) -> str:
        """The code of the language spoken in `wave` (N,), at 16 kHz."""

    def text(self, wave: Wave, language: str) -> str:
        """What is said in `wave` (N,), at 16 kHz, in `language`; empty where nothing is."""


class Said(NamedTuple):
    """What is known of a reference."""

    words: str
    """Normalised; empty where nothing was said, or heard."""
    language: str


@METRICS.register("words")
class Words(Metric):
    """Word and character error rate.

    The reference words are the true text where it is known; a perfect copy is then charged with the recogniser's own
    mistakes. Else they are what the recogniser hears in the reference, and a perfect copy scores 0. The recogniser is told the
    language that it finds in the reference, so that a damaged clip is not heard in another one. Both rates are per clip: their
    mean over a corpus weighs short clips more than the pooled rate does. They may exceed 1 where words are heard that
    nobody said. In writing without spaces between words only the character error rate means anything.
    """

    kind = "words"
    scales = (
        Scale("wer", "word error rate", 0.0, np.inf, higher_is_better=False, coarse=True, followed=True),
        Scale("cer", "character error rate", 0.0, np.inf, higher_is_better=False, coarse=True, followed=True),
    )
    source = (
        "Radford, Kim, Xu, Brockman, McLeavey, Sutskever, 2022, Robust speech recognition via large-scale weak supervision "
        "(Whisper base, greedy, 8 bits); packages faster-whisper and jiwer"
    )
    sample_rate = RATE
    speech_only = True
    packages = ("faster-whisper", "ctranslate2", "jiwer")
    extra = EXTRA

    def __init__(self, recogniser: Recogniser | None = None) -> None:
        """`recogniser`: None is Whisper, loaded when it is first needed."""
        self._given = recogniser

    def check(self) -> None:
        need_package("jiwer", self.extra, f"metric {self.kind}")
        if self._given is None:
            need_package("faster_whisper", self.extra, f"metric {self.kind}")
            find_whisper(WANTED_BY)

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> Said:
        """The words of the reference and their language."""
        if not np.any(reference):
            return Said("", "")
        language = self._recogniser.language(reference)
        return Said(normalise(self._recogniser.text(reference, language) if text is None else text), language)

    def measure(self, prepared: Said, wave: Wave, sample_rate: int) -> dict[str, float]:
        import jiwer

        if not prepared.words:
            raise UnscorableError("no word in the reference")
        heard = normalise(self._recogniser.text(wave, prepared.language)) if np.any(wave) else ""
        return {"wer": float(jiwer.wer(prepared.words, heard)), "cer": float(jiwer.cer(prepared.words, heard))}

    @property
    def _recogniser(self) -> Recogniser:
        return whisper(find_whisper(WANTED_BY)) if self._given is None else self._given


def normalise(text: str) -> str:
    """`text` without what nobody hears: case, compatible forms (NFKC), punctuation and symbols; single spaces between words."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(" " if unicodedata.category(c)[0] in "PSZC" else c for c in folded).split())


class Whisper:
    """Whisper from a CTranslate2 folder: one thread, greedy, no sampling, no memory of the text before."""

    def __init__(self, folder: Path) -> None:
        from faster_whisper import WhisperModel

        self._model = WhisperModel(os.fspath(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)

    def language(self, wave: Wave) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            language: str = self._model.detect_language(wave)[0]
        return language

    def text(self, wave: Wave, language: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            segments, _ = self._model.transcribe(
                wave,
                language=language,
                beam_size=1,
                temperature=0.0,
                condition_on_previous_text=False,
                without_timestamps=True,
            )
            return " ".join(segment.text for segment in segments)


@functools.cache
def whisper(source: Path | None) -> Whisper:
    """The recogniser of the folder `source`, or, where that is None, of the packages that carry Whisper base."""
    return Whisper(joined_whisper(WANTED_BY) if source is None else source)
