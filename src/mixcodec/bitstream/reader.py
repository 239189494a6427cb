"""Reading a `.mxc` file: all of it, or from any packet on."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mixcodec.bitstream.header import CHECK_BYTES, MAX_HEADER_BYTES, USUAL_HEADER_BYTES, Header, parse_header
from mixcodec.bitstream.packet import (
    END_SIZE_BYTES,
    FILE_CHECK_BYTES,
    MAX_END_BYTES,
    MAX_START_BYTES,
    SEEK_STEP,
    EndRecord,
    Layout,
    PacketStart,
    packet_index,
    parse_end,
    parse_packet_start,
)
from mixcodec.bitstream.varint import CutShortError
from mixcodec.errors import BitstreamError
from mixcodec.files import COPY_BYTES

TAIL_BYTES = FILE_CHECK_BYTES + END_SIZE_BYTES


@dataclass(frozen=True)
class Packet:
    """A packet as it stands in a file: its number, where it begins, what it holds, its coded bytes, all its bytes."""

    index: int
    position: int
    layout: Layout
    payload: bytes
    size: int


class MxcReader:
    """Reads an open seekable `.mxc` file. Its header is parsed here; everything else when it is asked for.

    Attributes:
        name: what messages call the file.
        header: the parsed header.
        first: where the first packet begins.
        file_bytes: size of the file.

    Raises:
        BitstreamError: it is empty, or does not begin with a whole header.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self.file_bytes = file.seek(0, os.SEEK_END)
        if not self.file_bytes:
            raise BitstreamError(f"{name}: is empty (0 bytes); give a .mxc file")
        try:
            self.header, self.first = self._header()
        except BitstreamError as error:
            told = str(error).endswith(("upgrade mixcodec", "encode the signal again"))
            advice = "" if told else "; give an intact file made by mixcodec encode"
            raise type(error)(f"{name}: {error}{advice}") from None

    def _header(self) -> tuple[Header, int]:
        start = self.at(0, USUAL_HEADER_BYTES)
        try:
            return parse_header(start)
        except CutShortError:
            if len(start) < USUAL_HEADER_BYTES:
                raise
        return parse_header(self.at(0, MAX_HEADER_BYTES))

    def end(self) -> EndRecord:
        """The end record, found from the end of the file.

        Raises:
            BitstreamError: there is none: the file is cut short, or damaged there.
        """
        size = int.from_bytes(self.at(self.file_bytes - END_SIZE_BYTES, END_SIZE_BYTES), "little")
        start = self.file_bytes - size
        if start < self.first or size < TAIL_BYTES:
            raise self.bad("is cut short or damaged at its end")
        try:
            return parse_end(self.header, self.at(start, size - TAIL_BYTES), self.first, start)
        except BitstreamError as error:
            raise self.bad(str(error)) from None

    def verify(self) -> EndRecord:
        """Check the whole file against its last checksum. Raises BitstreamError; else returns the end record."""
        end = self.end()
        self._file.seek(0)
        checksum, left = 0, self.file_bytes - TAIL_BYTES
        while left:
            block = self._file.read(min(left, COPY_BYTES))
            if not block:
                raise self.bad("shrank while it was read")
            checksum = zlib.crc32(block, checksum)
            left -= len(block)
        if self.at(self.file_bytes - TAIL_BYTES, FILE_CHECK_BYTES) != checksum.to_bytes(FILE_CHECK_BYTES, "little"):
            raise self.bad("is damaged (its checksum does not match)")
        return end

    def packets(self, start: int = 0, stop: int | None = None) -> Iterator[Packet]:
        """The packets number `start` to `stop`, by default to the last one, which the end record must follow.

        Only the packets asked for are read, and the starts of at most SEEK_STEP before them.

        Raises:
            BitstreamError: one of them is damaged or missing.
        """
        end = self.end()
        stop = end.packets if stop is None else min(stop, end.packets)
        index = min(start, stop) // SEEK_STEP * SEEK_STEP
        position = end.seek[index // SEEK_STEP - 1] if index else self.first
        frames = 0
        while index < stop:
            found = self._start(position)
            if found is None or (found.layout.frames != self.header.packet_frames and index != end.packets - 1):
                raise self.bad(f"is damaged: packet {index} is not where it should be")
            if index >= start:
                yield self._packet(index, position, found)
            position += found.whole
            frames = index * self.header.packet_frames + found.layout.frames
            index += 1
        if stop == end.packets and (frames != end.frames or self._start(position) is not None):
            raise self.bad(f"has packets that do not make up its {end.frames} frames")

    def _packet(self, index: int, position: int, start: PacketStart) -> Packet:
        data = self.at(position, start.whole)
        if len(data) < start.whole or packet_index(start, data) != index & 0xFFFF:
            raise self.bad(f"is damaged (the checksum of packet {index} does not match)")
        return Packet(index, position, start.layout, data[start.size : -CHECK_BYTES], start.whole)

    def _start(self, position: int) -> PacketStart | None:
        try:
            return parse_packet_start(self.header, self.at(position, MAX_START_BYTES))
        except BitstreamError as error:
            raise self.bad(str(error)) from None

    def at(self, position: int, count: int) -> bytes:
        """The bytes from `position` on, fewer than `count` at the end of the file."""
        self._file.seek(max(0, position))
        return self._file.read(count)

    def bad(self, what: str) -> BitstreamError:
        """The error that says what is wrong with the file."""
        return BitstreamError(f"{self.name}: {what}; get the whole file again, or decode what is left of it with --lossy")


class PacketStream:
    """Reads a `.mxc` file as it arrives, from a pipe or a socket: its header at once, packet after packet, the end record.

    Attributes:
        header: the parsed header.
        end: the end record, once all packets have been taken; None before.

    Raises:
        BitstreamError: from the constructor or from iterating, where the stream is no `.mxc` file, is damaged or cut short.
    """

    def __init__(self, file: BinaryIO, name: str = "stream") -> None:
        self.name = name
        self._file = file
        self._data = bytearray()
        self._check = 0
        self.end: EndRecord | None = None
        wanted = USUAL_HEADER_BYTES
        while True:
            whole = self._fill(wanted)
            try:
                self.header, self._first = parse_header(bytes(self._data))
                break
            except CutShortError as error:
                if not whole or wanted >= MAX_HEADER_BYTES:
                    raise BitstreamError(f"{name}: {error}") from None
                wanted = min(2 * wanted, MAX_HEADER_BYTES)
            except BitstreamError as error:
                raise type(error)(f"{name}: {error}") from None
        self._take(self._first)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each packet as it stands in the file, its check tested."""
        index, position = 0, self._first
        try:
            while True:
                self._fill(MAX_START_BYTES)
                start = parse_packet_start(self.header, bytes(self._data[:MAX_START_BYTES]))
                if start is None:
                    break
                if not self._fill(start.whole):
                    raise CutShortError("is cut short")
                packet = self._take(start.whole)
                if packet_index(start, packet) != index & 0xFFFF:
                    raise BitstreamError(f"is damaged (the checksum of packet {index} does not match)")
                yield packet
                index, position = index + 1, position + start.whole
            self._finish(position, index)
        except BitstreamError as error:
            raise type(error)(f"{self.name}: {error}") from None

    def _finish(self, position: int, packets: int) -> None:
        self._fill(MAX_END_BYTES + 1)
        size = int.from_bytes(self._data[-END_SIZE_BYTES:], "little")
        if size != len(self._data) or size < TAIL_BYTES:
            raise BitstreamError("is cut short or damaged at its end")
        record = self._take(size - TAIL_BYTES)
        end = parse_end(self.header, record, self._first, position)
        if self._data[:FILE_CHECK_BYTES] != self._check.to_bytes(FILE_CHECK_BYTES, "little") or end.packets != packets:
            raise BitstreamError("is damaged (its checksum does not match)")
        self.end = end

    def _fill(self, count: int) -> bool:
        """Wait until `count` bytes are there; False where the stream ends before."""
        while len(self._data) < count:
            block = self._file.read(count - len(self._data))
            if not block:
                return False
            self._data += block
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(self._data[:count])
        del self._data[:count]
        self._check = zlib.crc32(taken, self._check)
        return taken
