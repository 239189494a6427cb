"""mixcodec: a neural audio codec that runs on an ordinary CPU without a deep-learning framework.

>>> import mixcodec
>>> wave, sample_rate = mixcodec.read_audio("talk.wav")     # doctest: +SKIP
>>> codec = mixcodec.load("speech-16k")                     # doctest: +SKIP
>>> tokens = codec.wave_to_tokens(wave, sample_rate, codebooks=6)  # doctest: +SKIP
>>> again = codec.tokens_to_wave(tokens)                    # doctest: +SKIP

The names below are imported on first use, so that ``import mixcodec`` (and with it every cold command line)
costs next to nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixcodec.audio import read_audio, write_audio
    from mixcodec.errors import MixcodecError
    from mixcodec.runtime import Codec, load, read_mxc, write_mxc
    from mixcodec.tokens import Tokens

# onnxruntime reports its usage to its makers unless this is set before it is imported, here or by a process that this one starts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = ["Codec", "MixcodecError", "Tokens", "load", "read_audio", "read_mxc", "write_audio", "write_mxc"]

_HOMES = {
    "Codec": "mixcodec.runtime",
    "MixcodecError": "mixcodec.errors",
    "Tokens": "mixcodec.tokens",
    "load": "mixcodec.runtime",
    "read_audio": "mixcodec.audio",
    "read_mxc": "mixcodec.runtime",
    "write_audio": "mixcodec.audio",
    "write_mxc": "mixcodec.runtime",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mixcodec' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
