"""Which clips an evaluation runs on, and what is known of them."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import numpy as np

from mixcodec.audio import Wave, read_audio, resample, write_audio
from mixcodec.data.manifest import build_manifest
from mixcodec.errors import DataError
from mixcodec.folders import not_regular, printable

LANGUAGE = re.compile(r"^([a-z]{2})(?:[_-].*)?$")
"""A speaker label that begins with the two letters of a language: de, en_GB, es_MX_f_Allison."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """One audio file to be coded."""

    name: str
    """Its path relative to the data folder."""
    seconds: float
    speaker: str = ""
    language: str = ""
    text: str | None = None
    """What is said in it, where that is known."""


def find_clips(root: Path, listed: Path | None = None, kind: str = "", split: str = "", limit: int | None = None) -> list[Clip]:
    """The clips below `root`: those of its manifest.tsv, or every audio file; of a list, those that it names, in its order.

    Speaker and language come from the manifest (a column `language`, or a speaker label that begins with one); the text
    from a `.txt` file beside the clip.

    Raises:
        DataError: the folder or the list is not there, a listed clip is missing, or there are none.
    """
    if listed is None:
        manifest = build_manifest(root, kind=kind, split=split)
        names = [entry.path for entry in manifest.entries]
    else:
        names = _listed(listed)
        if absent := [name for name in names if not os.path.isfile(root / name)]:
            told = f"{len(absent)} of its clips are no files under {root}, such as {printable(absent[0])}"
            raise DataError(f"{listed}: {told}")
        manifest = build_manifest(root, only=names)
    entries = {entry.path: entry for entry in manifest.entries}
    reasons = {broken.path: broken.reason for broken in manifest.broken}
    found = []
    for name in dict.fromkeys([*names, *(sorted(reasons) if listed is None else [])]):
        entry = entries.get(name)
        if entry is None:  # not readable as audio: kept, so that the run lists it as failed
            found.append(Clip(name, 0.0))
            continue
        match = LANGUAGE.match(entry.speaker)
        language = entry.language or (match[1] if match else "")
        speaker = entry.unit if entry.unit != "." else ""
        found.append(Clip(name, entry.seconds, speaker, language, _text(root / name)))
    return found[:limit]


def read_clip(path: Path, wav: Path, sample_rate: int, mono: bool) -> Wave:
    """Write the clip as the 16-bit wav that every codec is given, and return just that: (N,) or (C, N) at `sample_rate` Hz.

    Raises:
        MixcodecError: it cannot be read; DataError where it holds no sample, or is no regular file (a pipe would be waited for).
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path}: {not_regular(os.stat(path).st_mode)}")
    wave, rate = read_audio(path)
    if not wave.shape[-1]:
        raise DataError(f"{path}: holds no samples")
    if mono and wave.ndim == 2:
        wave = wave.mean(axis=0, dtype=np.float32)
    write_audio(wav, resample(wave, rate, sample_rate), sample_rate)
    return read_audio(wav)[0]


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")  # names are what the disk holds
        names = [line.strip() for line in lines if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read ({error}); give a text file with one path a line") from None
    if not names:
        raise DataError(f"{path}: names no clip; give a text file with one path a line")
    return names


def _text(clip: Path) -> str | None:
    beside = clip.with_suffix(".txt")
    if not os.path.isfile(beside):
        return None
    try:
        return beside.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
