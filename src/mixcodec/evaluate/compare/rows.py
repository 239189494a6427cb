"""What a comparison has measured so far: one file for each variant and seed, so that a killed run goes on with the next."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixcodec.errors import FileError
from mixcodec.evaluate.compare.score import Clips
from mixcodec.evaluate.compare.variants import Variant
from mixcodec.files import atomic_output
from mixcodec.train import Recipe

VERSION = 1
LOCAL = {"root", "cache_dir", "processes"}
"""Fields of the data that belong to one machine: what they lead to is told by the manifest's hash."""
UNIMPORTANT = {"name", "out", "threads", "log_every", "validate_every", "judges", "save_every", "codec", "data"}
"""Fields of a recipe that do not change the weights, or are told apart from it."""

Row = dict[str, Any]


def row_key(variant: Variant, recipe: Recipe, manifest: str, clips: Clips, shared: bool, initial: str = "") -> str:
    """The name of a row: a hash of all that its scores depend on but the code."""
    values, kept = recipe.as_dict(), _important(recipe)
    scored = [clips.count, clips.seconds, list(clips.names), *clips.books]
    base = [values["codec"]["encoder"], values["codec"]["decoder"]] if shared else []
    codec = [dict(variant.codec), variant.streams, variant.dropout, *([initial] if initial else [])]
    text = json.dumps([VERSION, codec, kept, manifest, scored, base], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def shared_key(recipe: Recipe, manifest: str) -> str:
    """The name of the autoencoder that variants go on from."""
    text = json.dumps([VERSION, recipe.codec, _important(recipe), manifest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _important(recipe: Recipe) -> dict[str, Any]:
    values = recipe.as_dict()
    kept = {k: v for k, v in values.items() if k not in UNIMPORTANT}
    return kept | {"data": {k: v for k, v in values["data"].items() if k not in LOCAL}}


def file_hash(path: Path) -> str:
    """A hash of the weights in a checkpoint or a model folder. Raises FileError."""
    try:
        with open(path / "model.safetensors" if path.is_dir() else path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: cannot be read as a checkpoint or a model folder ({error.strerror})") from None


class Rows:
    """The folder of rows; a file that is damaged counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{folder}: cannot be made a folder ({error.strerror}); choose another with --out") from None

    def read(self, key: str) -> Row | None:
        """The row under this key, if there is one."""
        try:
            checksum, _, body = self._path(key).read_bytes().partition(b" ")
        except OSError:
            return None
        if checksum != b"%08x" % zlib.crc32(body):
            return None
        row: Row = json.loads(body)
        return row

    def write(self, key: str, row: Mapping[str, Any]) -> None:
        """Keep a row, whole or not at all."""
        body = json.dumps(row, sort_keys=True).encode() + b"\n"
        with atomic_output(self._path(key)) as file:
            file.write(b"%08x " % zlib.crc32(body) + body)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
