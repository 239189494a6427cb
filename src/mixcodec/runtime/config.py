"""The `config.json` of a model folder: what the runtime has to know about a codec."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixcodec.arrays import shown
from mixcodec.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from mixcodec.bitstream.header import MAX_CODEBOOK_SIZE, MAX_CODEBOOKS, MAX_RATIO
from mixcodec.errors import ModelError
from mixcodec.models import CONFIG
from mixcodec.tokens import FINGERPRINT, MODEL_NAME

FORMAT = 1
DTYPES = ("float32", "int64")
MAX_CONFIG_BYTES = 1 << 20
"""No config.json is longer; those of the shipped models take 5 kB."""
MAX_STATE = 1 << 24
"""Numbers in one tensor of a graph's state; those of the shipped models have some ten thousand."""
MAX_FRAME = 1 << 16
"""Samples of a frame."""
TABLES = re.compile(r"[0-9a-f]{8}", re.ASCII)


@dataclass(frozen=True)
class StateSpec:
    """One named tensor of a graph's state: its shape without the batch axis, and float32 or int64. It begins at zero."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelConfig:
    """A model folder's description.

    Attributes:
        folder: where it was read from.
        name: what the model is called.
        fingerprint: 128 bits in hex that change with its weights.
        sample_rate: Hz, at which the codec works.
        hop: samples per frame.
        delay: samples by which the decoder's output lags behind the encoder's input.
        codebooks: codes per frame, K.
        codebook_size: codes in a codebook.
        default_codebooks: codebooks used when no bitrate is asked for.
        encoder_state, decoder_state: the state tensors of the two graphs by name.
        extra: all other entries (the parts the codec is built of, revision, ...), of no concern to the runtime.
        same_codes: fingerprints of other models with the same encoder and quantizer, whose codes mean the same here.
        tables: 32 bits in hex, the `mixcodec.entropy.Tables.fingerprint` of its entropy.bin; None where it does not say.
    """

    folder: Path
    name: str
    fingerprint: str
    sample_rate: int
    hop: int
    delay: int
    codebooks: int
    codebook_size: int
    default_codebooks: int
    encoder_state: dict[str, StateSpec]
    decoder_state: dict[str, StateSpec]
    extra: dict[str, Any]
    tables: str | None = None
    same_codes: tuple[str, ...] = ()

    @property
    def frame_rate(self) -> float:
        """Frames per second, Hz."""
        return self.sample_rate / self.hop

    def understands(self, fingerprint: str) -> bool:
        """Whether codes of the model with that fingerprint are this one's too."""
        return fingerprint == self.fingerprint or fingerprint in self.same_codes


def read_config(folder: Path) -> ModelConfig:
    """Read and check `folder`/config.json.

    Raises:
        ModelError: it is missing, is no JSON or too much of it, is of a newer format, or an entry is missing, stands there
            twice or is impossible.
    """
    path = folder / CONFIG
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({getattr(error, 'strerror', error)}); give a model folder") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise ModelError(f"{path}: is longer than {MAX_CONFIG_BYTES} bytes; export the model again")
    try:  # from bytes, so that a byte-order mark, which some editors put there, is understood
        raw = json.loads(data, object_pairs_hook=_distinct, parse_constant=_no_number)
    except _Refused as error:
        raise ModelError(f"{path}: {error}; export the model again") from None
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: is not JSON; export the model again") from None
    entries = _Entries(path, raw)
    if (version := entries.integer("format", 1)) > FORMAT:
        raise ModelError(f"{path}: is of the newer model format {version}; upgrade mixcodec")
    codebooks = entries.integer("codebooks", 1, MAX_CODEBOOKS)
    return ModelConfig(
        folder=folder,
        name=entries.text("name", MODEL_NAME.fullmatch),
        fingerprint=entries.text("fingerprint", FINGERPRINT.fullmatch),
        sample_rate=entries.integer("sample_rate", MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
        hop=entries.integer("hop", 1, MAX_FRAME),
        delay=entries.integer("delay", 0, MAX_RATIO),
        codebooks=codebooks,
        codebook_size=entries.integer("codebook_size", 2, MAX_CODEBOOK_SIZE),
        default_codebooks=entries.integer("default_codebooks", 1, codebooks),
        encoder_state=entries.state("encoder_state"),
        decoder_state=entries.state("decoder_state"),
        tables=entries.text("tables", TABLES.fullmatch) if "tables" in entries else None,
        same_codes=entries.fingerprints("same_codes") if "same_codes" in entries else (),
        extra=entries.rest(),
    )


class _Refused(Exception):
    """JSON that Python reads, and that says nothing clear."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused(f"has {shown(key)} twice")
        found[key] = value
    return found


def _no_number(word: str) -> Any:
    raise _Refused(f"holds {word}, which is no number")


class _Entries:
    """The entries of a parsed config.json, taken one by one."""

    def __init__(self, path: Path, raw: Any) -> None:
        self._path = path
        if not isinstance(raw, dict):
            raise ModelError(f"{path}: is not a JSON object; export the model again")
        self._raw = dict(raw)

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def _take(self, key: str) -> Any:
        if key not in self._raw:
            raise ModelError(f"{self._path}: lacks {key!r}; export the model again")
        return self._raw.pop(key)

    def _bad(self, key: str, value: Any) -> ModelError:
        return ModelError(f"{self._path}: has an impossible {key!r} ({shown(value)}); export the model again")

    def integer(self, key: str, low: int, high: int = 1 << 31) -> int:
        value = self._take(key)
        if not _is_integer(value) or not low <= value <= high:
            raise self._bad(key, value)
        return int(value)

    def text(self, key: str, allowed: Callable[[str], object]) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not allowed(value):
            raise self._bad(key, value)
        return value

    def fingerprints(self, key: str) -> tuple[str, ...]:
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(one, str) and FINGERPRINT.fullmatch(one) for one in value):
            raise self._bad(key, value)
        return tuple(value)

    def state(self, key: str) -> dict[str, StateSpec]:
        value = self._take(key)
        specs = {name: _spec(entry) for name, entry in value.items()} if isinstance(value, dict) else {"": None}
        found = {name: spec for name, spec in specs.items() if spec is not None}
        if len(found) < len(specs):
            raise self._bad(key, value)
        return found

    def rest(self) -> dict[str, Any]:
        return self._raw


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _spec(entry: Any) -> StateSpec | None:
    """What a description of a state tensor says; None where it says nothing possible."""
    if not isinstance(entry, dict) or not isinstance(shape := entry.get("shape"), list):
        return None
    dtype = entry.get("dtype", "float32")
    if dtype not in DTYPES or not all(_is_integer(size) and size >= 0 for size in shape) or math.prod(shape) > MAX_STATE:
        return None
    return StateSpec(tuple(shape), dtype)
