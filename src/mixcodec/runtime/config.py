"""The `config.json` of a model folder: what the runtime has to know about a codec."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixcodec.errors import ModelError
from mixcodec.models import CONFIG
from mixcodec.tokens import FINGERPRINT, MODEL_NAME

FORMAT = 1
DTYPES = ("float32", "int64")


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

    @property
    def frame_rate(self) -> float:
        """Frames per second, Hz."""
        return self.sample_rate / self.hop


def read_config(folder: Path) -> ModelConfig:
    """Read and check `folder`/config.json.

    Raises:
        ModelError: it is missing, is no JSON, is of a newer format, or an entry is missing or impossible.
    """
    path = folder / CONFIG
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); give a model folder") from None
    except ValueError:
        raise ModelError(f"{path}: is not JSON; export the model again") from None
    entries = _Entries(path, raw)
    if (version := entries.integer("format", 1)) > FORMAT:
        raise ModelError(f"{path}: is of the newer model format {version}; upgrade mixcodec")
    codebooks = entries.integer("codebooks", 1)
    return ModelConfig(
        folder=folder,
        name=entries.text("name", MODEL_NAME.fullmatch),
        fingerprint=entries.text("fingerprint", FINGERPRINT.fullmatch),
        sample_rate=entries.integer("sample_rate", 1),
        hop=entries.integer("hop", 1),
        delay=entries.integer("delay", 0),
        codebooks=codebooks,
        codebook_size=entries.integer("codebook_size", 2),
        default_codebooks=entries.integer("default_codebooks", 1, codebooks),
        encoder_state=entries.state("encoder_state"),
        decoder_state=entries.state("decoder_state"),
        extra=entries.rest(),
    )


class _Entries:
    """The entries of a parsed config.json, taken one by one."""

    def __init__(self, path: Path, raw: Any) -> None:
        self._path = path
        if not isinstance(raw, dict):
            raise ModelError(f"{path}: is not a JSON object; export the model again")
        self._raw = dict(raw)

    def _take(self, key: str) -> Any:
        if key not in self._raw:
            raise ModelError(f"{self._path}: lacks {key!r}; export the model again")
        return self._raw.pop(key)

    def _bad(self, key: str, value: Any) -> ModelError:
        return ModelError(f"{self._path}: has an impossible {key!r} ({value!r}); export the model again")

    def integer(self, key: str, low: int, high: int = 1 << 31) -> int:
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._bad(key, value)
        return value

    def text(self, key: str, allowed: Any) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not allowed(value):
            raise self._bad(key, value)
        return value

    def state(self, key: str) -> dict[str, StateSpec]:
        value = self._take(key)
        try:
            specs = {
                str(name): StateSpec(tuple(int(size) for size in entry["shape"]), str(entry.get("dtype", "float32")))
                for name, entry in value.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._bad(key, value) from None
        if any(spec.dtype not in DTYPES or min(spec.shape, default=0) < 0 for spec in specs.values()):
            raise self._bad(key, value)
        return specs

    def rest(self) -> dict[str, Any]:
        return self._raw
