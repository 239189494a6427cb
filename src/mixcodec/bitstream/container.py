"""The `.mxc` file: a header, the packed codes, a checksum over both. The specification is docs/bitstream.md.

Reader and writer go block by block; whatever is written sits in a temporary file until it is whole, and whatever is
read has passed its checksum before the first code is handed out.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mixcodec.bitstream.bits import pack, packed_bytes, unpack
from mixcodec.bitstream.header import CHECKSUM_BYTES, MAX_HEADER_BYTES, MAX_RATIO, Header, parse_header
from mixcodec.errors import BitstreamError
from mixcodec.files import COPY_BYTES, PathLike, atomic_output, display_name, seekable_input, temporary_file
from mixcodec.tokens import Tokens, code_bits

Codes = NDArray[np.int64]

SPOOL_BYTES = 1 << 20
"""Packed codes beyond this wait on disk, not in memory."""


class MxcWriter:
    """Writes codes into an open file as they come; the header, which needs the final length, is made at the end.

    Args:
        file: where the finished `.mxc` goes.
        header: everything but `sample_count` and `frames`, which `finish` sets.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._header = header
        self._bits = code_bits(header.codebook_size)
        self._waiting: Codes = np.zeros((header.channels, 0, header.codebooks), np.int64)
        self._frames = 0
        self._payload: BinaryIO = BytesIO()

    def append(self, codes: Codes) -> None:
        """Take the codes (*channels, t, K) of t more frames."""
        shape = (self._header.channels, codes.shape[-2], self._header.codebooks)
        self._frames += codes.shape[-2]
        waiting = np.concatenate([self._waiting, codes.reshape(shape)], axis=1)
        whole = waiting.shape[1] // 8 * 8  # eight frames always end on a byte
        self._payload.write(pack(waiting[:, :whole].swapaxes(0, 1), self._bits))
        self._waiting = waiting[:, whole:]
        if isinstance(self._payload, BytesIO) and self._payload.tell() > SPOOL_BYTES:
            spool = temporary_file()
            spool.write(self._payload.getbuffer())
            self._payload = spool

    def finish(self, sample_count: int) -> Header:
        """Write the file and return its header; `sample_count` is that of the original, per channel."""
        with self._payload as payload:
            payload.write(pack(self._waiting.swapaxes(0, 1), self._bits))
            header = replace(self._header, sample_count=sample_count, frames=self._frames)
            start = header.to_bytes()
            checksum = zlib.crc32(start)
            self._file.write(start)
            payload.seek(0)
            while block := payload.read(COPY_BYTES):
                checksum = zlib.crc32(block, checksum)
                self._file.write(block)
            self._file.write(checksum.to_bytes(CHECKSUM_BYTES, "little"))
        return header


class MxcReader:
    """Reads an open seekable `.mxc` file.

    Attributes:
        name: what messages call the file.
        header: the parsed header.
        file_bytes: size of the file.

    Raises:
        BitstreamError: it is not a `.mxc` file, is damaged, cut short, or has bytes to spare. All of the file but the
            values of the codes is checked here.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self.file_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        if not self.file_bytes:
            raise BitstreamError(f"{name}: is empty (0 bytes); give a .mxc file")
        try:
            self.header, self._start = parse_header(file.read(MAX_HEADER_BYTES))
        except BitstreamError as error:
            advice = "" if str(error).endswith("upgrade mixcodec") else "; give an intact file made by mixcodec encode"
            raise type(error)(f"{name}: {error}{advice}") from None
        expected = self._start + self.header.payload_bytes + CHECKSUM_BYTES
        if self.file_bytes != expected:
            how = "is cut short" if self.file_bytes < expected else "has bytes to spare"
            raise BitstreamError(f"{name}: {how} ({self.file_bytes} bytes, not {expected}); get the whole file again")
        self._verify()

    def _verify(self) -> None:
        self._file.seek(0)
        checksum, left = 0, self.file_bytes - CHECKSUM_BYTES
        while left:
            block = self._file.read(min(left, COPY_BYTES))
            if not block:
                raise BitstreamError(f"{self.name}: shrank while it was read; get the whole file again")
            checksum = zlib.crc32(block, checksum)
            left -= len(block)
        if self._file.read(CHECKSUM_BYTES) != checksum.to_bytes(CHECKSUM_BYTES, "little"):
            raise BitstreamError(f"{self.name}: is damaged (its checksum does not match); get the file again")

    def blocks(self, frames: int = 4096) -> Iterator[Codes]:
        """Yield the codes in blocks (*channels, at most `frames`, K); `frames` is a multiple of 8.

        Raises:
            BitstreamError: a code is not below the codebook size, or the filling bits are not zero.
        """
        header, bits = self.header, code_bits(self.header.codebook_size)
        width = header.channels * header.codebooks
        self._file.seek(self._start)
        for first in range(0, header.frames, frames):
            count = min(frames, header.frames - first) * width
            try:
                flat = unpack(self._file.read(packed_bytes(count, bits)), count, bits)
            except ValueError as error:
                raise BitstreamError(f"{self.name}: is damaged ({error}); get the file again") from None
            if flat.max() >= header.codebook_size:
                raise BitstreamError(f"{self.name}: is damaged (a code is out of range); get the file again")
            codes = flat.reshape(-1, header.channels, header.codebooks).swapaxes(0, 1)
            yield codes[0] if header.channels == 1 else codes


def tokens_to_bytes(tokens: Tokens) -> bytes:
    """The `.mxc` file of `tokens`. Codes of shape (1, T, K) come back from it as (T, K).

    Raises:
        BitstreamError: the tokens break a limit of the format.
    """
    header = Header(
        model=tokens.model,
        fingerprint=tokens.fingerprint,
        sample_rate=tokens.sample_rate,
        sample_count=tokens.sample_count,
        channels=tokens.channels,
        frames=tokens.frames,
        codebooks=tokens.codebooks,
        codebook_size=tokens.codebook_size,
        frame_rate=Fraction(tokens.frame_rate).limit_denominator(MAX_RATIO),
    )
    file = BytesIO()
    writer = MxcWriter(file, header)
    writer.append(tokens.codes)
    writer.finish(tokens.sample_count)
    return file.getvalue()


def bytes_to_tokens(data: bytes, name: str = "data") -> Tokens:
    """The tokens in the bytes of a `.mxc` file; `name` is what messages call it.

    Raises:
        BitstreamError: it is not a `.mxc` file, is damaged, cut short, or has bytes to spare.
    """
    return _read_tokens(MxcReader(BytesIO(data), name))


def write_mxc(path: PathLike, tokens: Tokens) -> None:
    """Write `tokens` as a `.mxc` file (``-`` is standard output).

    Raises:
        BitstreamError: the tokens break a limit of the format.
        FileError: the target cannot be written.
    """
    with atomic_output(path) as file:
        file.write(tokens_to_bytes(tokens))


def read_mxc(path: PathLike) -> Tokens:
    """Read a whole `.mxc` file (``-`` is standard input).

    Raises:
        FileError, BitstreamError: it cannot be opened, or is not an intact `.mxc` file.
    """
    with seekable_input(path) as file:
        return _read_tokens(MxcReader(file, display_name(path)))


def _read_tokens(reader: MxcReader) -> Tokens:
    header = reader.header
    shape = () if header.channels == 1 else (header.channels,)
    codes = np.concatenate([np.zeros((*shape, 0, header.codebooks), np.int64), *reader.blocks()], axis=-2)
    return Tokens(
        codes=codes,
        frame_rate=float(header.frame_rate),
        sample_count=header.sample_count,
        sample_rate=header.sample_rate,
        codebook_size=header.codebook_size,
        model=header.model,
        fingerprint=header.fingerprint,
    )
