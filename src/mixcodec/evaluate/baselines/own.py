"""mixcodec's own models, through the runtime that ships."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixcodec import __version__
from mixcodec.bitstream import MxcReader
from mixcodec.evaluate.baselines.base import CODERS, Coder
from mixcodec.models import DEFAULT_MODEL, PLAIN, split_variant
from mixcodec.runtime import Codec, decode_file, encode_file, load, read_mxc


@functools.lru_cache(maxsize=4)
def _codec(model: str, variant: str | None) -> Codec:
    """A codec, loaded once in each process."""
    return load(model, variant=variant)


@CODERS.register("mixcodec")
class Mixcodec(Coder):
    """A model of mixcodec, shipped or in a folder; its files are `.mxc`.

    ``speech-16k:int8`` is a variant of a model, ``speech-16k:float32:int8`` the encoder of one and the decoder of another.
    """

    kind = "mixcodec"
    source = "mixcodec's runtime on one thread; whole .mxc files"
    settings = "kbps of whole files; the model's usual number of codebooks where none is given"
    takes_model = True
    suffix = ".mxc"

    def __init__(self, setting: float | None = None, model: str | None = None) -> None:
        super().__init__(setting, model or DEFAULT_MODEL)
        first, self._decoder = split_variant(model or DEFAULT_MODEL)
        self._model, encoder = split_variant(first)
        self._encoder = encoder or self._decoder

    def check(self) -> None:
        _codec(self._model, self._decoder)
        _codec(self._model, self._encoder).codebooks_for(self.setting)

    def version(self) -> str:
        codec = _codec(self._model, self._encoder)
        variants = dict.fromkeys(_codec(self._model, variant).variant for variant in (self._encoder, self._decoder))
        shown = "" if list(variants) == [PLAIN] else f" {' to '.join(variants)}"
        return f"mixcodec {__version__}, model {codec.name}{shown} {codec.fingerprint}"

    def encode(self, source: Path, target: Path) -> None:
        encode_file(_codec(self._model, self._encoder), source, target, self.setting)

    def decode(self, source: Path, target: Path) -> None:
        decode_file(_codec(self._model, self._decoder), source, target)

    def payload_bytes(self, coded: Path) -> int:
        with coded.open("rb") as file:
            return sum(len(packet.payload) for packet in MxcReader(file, str(coded)).packets())

    def codes(self, coded: Path) -> tuple[NDArray[np.int64], int] | None:
        tokens = read_mxc(coded, _codec(self._model, self._decoder))
        codes = tokens.codes.reshape(-1, tokens.codes.shape[-2], tokens.codebooks)
        return np.concatenate(list(codes)), tokens.codebook_size
