"""What a run has measured so far, a line for each clip and operating point, so that a killed run goes on where it was."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mixcodec.errors import FileError
from mixcodec.evaluate.measure import Measured
from mixcodec.evaluate.results import Row

VERSION = 1


def measurement_key(parts: Iterable[Any]) -> str:
    """The name of a measurement: a hash of all that its result depends on."""
    return hashlib.sha256(json.dumps([VERSION, *parts]).encode()).hexdigest()[:32]


class Journal:
    """The file of lines, and what it held when it was opened; each line has a checksum, and a damaged one counts as absent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done: dict[str, Measured] = {}
        try:
            lines = path.read_bytes().split(b"\n") if path.is_file() else []
            self._file = path.open("ab")
        except OSError as error:
            raise FileError(f"{path}: cannot be written ({error.strerror}); choose another folder with --out") from None
        for line in lines:
            checksum, _, body = line.partition(b" ")
            if body and checksum == b"%08x" % zlib.crc32(body):
                key, measured = _parse(json.loads(body))
                self.done[key] = measured
        if lines and lines[-1]:
            self._file.write(b"\n")  # the last line was cut short: the next one begins anew

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, key: str, measured: Measured) -> None:
        """Keep a measurement."""
        self.done[key] = measured
        body = json.dumps(_plain(key, measured)).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(body), body))
        self._file.flush()


def _plain(key: str, measured: Measured) -> dict[str, Any]:
    codes = None
    if measured.codes is not None:
        small = measured.codes.astype("<i4")
        codes = [base64.b85encode(zlib.compress(small.tobytes())).decode(), *small.shape, measured.codebook_size]
    return {"key": key, "row": dataclasses.asdict(measured.row), "codes": codes}


def _parse(plain: dict[str, Any]) -> tuple[str, Measured]:
    measured = Measured(Row(**plain["row"]))
    if plain["codes"] is not None:
        text, frames, codebooks, size = plain["codes"]
        flat = np.frombuffer(zlib.decompress(base64.b85decode(text)), "<i4")
        measured.codes, measured.codebook_size = flat.reshape(frames, codebooks).astype(np.int64), size
    return plain["key"], measured
