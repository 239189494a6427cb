"""Reading a `.mxc` file: all of it, or from any packet on."""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn, TypeVar

from mixcodec.bitstream.header import CHECK_BYTES, MAX_HEADER_BYTES, USUAL_HEADER_BYTES, Header, parse_header
from mixcodec.bitstream.packet import (
    END_SIZE_BYTES,
    FILE_CHECK_BYTES,
    MAX_END_BYTES,
    MAX_START_BYTES,
    NUMBERS,
    SEEK_STEP,
    EndRecord,
    Layout,
    PacketStart,
    packet_number,
    parse_end,
    parse_packet_start,
)
from mixcodec.bitstream.varint import CutShortError
from mixcodec.errors import BitstreamError, NotCopyableError
from mixcodec.files import COPY_BYTES

TAIL_BYTES = FILE_CHECK_BYTES + END_SIZE_BYTES
START_BYTES = 6
"""Magic, version, flags, length of the name."""

Parsed = TypeVar("Parsed")


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
        end_position: where the end record begins; 0 as long as `end` has not found it.

    Raises:
        BitstreamError: it is empty, or does not begin with a whole header.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._end: EndRecord | None = None
        self.end_position = 0
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
        if self._end is None:
            size = int.from_bytes(self.at(self.file_bytes - END_SIZE_BYTES, END_SIZE_BYTES), "little")
            start = self.file_bytes - size
            if start < self.first or not TAIL_BYTES <= size <= MAX_END_BYTES:
                raise self.bad("is cut short, damaged at its end, or has bytes to spare there")
            try:
                self._end = parse_end(self.header, self.at(start, size - TAIL_BYTES), self.first, start)
            except BitstreamError as error:
                raise self.bad(str(error)) from None
            self.end_position = start
        return self._end

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
        index = min(start, max(0, stop - 1)) // SEEK_STEP * SEEK_STEP
        position = end.seek[index // SEEK_STEP - 1] if index else self.first
        frames = 0
        while index < stop:
            if index and index % SEEK_STEP == 0 and position != end.seek[index // SEEK_STEP - 1]:
                raise self.bad(f"is damaged: packet {index} is not where its seek table says")
            found = self._start(position)
            if found is None or (found.layout.frames != self.header.packet_frames and index != end.packets - 1):
                raise self.bad(f"is damaged: packet {index} is not where it should be")
            if index >= start:
                yield self._packet(index, position, found)
            position += found.whole
            frames = index * self.header.packet_frames + found.layout.frames
            index += 1
        if stop == end.packets and (frames != end.frames or position != self.end_position):
            raise self.bad(f"has packets that do not make up its {end.frames} frames")

    def _packet(self, index: int, position: int, start: PacketStart) -> Packet:
        data = self.at(position, start.whole)
        if len(data) < start.whole or packet_number(start, data) != index % NUMBERS:
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

    def __reduce__(self) -> NoReturn:
        raise NotCopyableError(f"{self.name}: an open file can be neither pickled nor copied; open it where it is read")

    def bad(self, what: str) -> BitstreamError:
        """The error that says what is wrong with the file."""
        return BitstreamError(f"{self.name}: {what}; get the whole file again, or decode what is left of it with --lossy")


class PacketStream:
    """Reads a `.mxc` file as it arrives, from a pipe or a socket: its header at once, packet after packet, the end record.

    Attributes:
        header: the parsed header.
        end: the end record, once all packets have been taken; None before.

    No read asks for more bytes than the header, the packet or the end record still lacks, but the stream must end after it.

    Raises:
        BitstreamError: from the constructor or from iterating, where the stream is no `.mxc` file, is damaged or cut short.
    """

    def __init__(self, file: BinaryIO, name: str = "stream") -> None:
        self.name = name
        self._file = file
        self._data = bytearray()
        self._check = 0
        self.end: EndRecord | None = None
        try:
            self.header, self._first = self._parsed(parse_header, START_BYTES)
        except BitstreamError as error:
            raise type(error)(f"{name}: {error}") from None
        self._take(self._first)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each packet as it stands in the file, its check tested."""
        index, frames, position = 0, 0, self._first
        seek = array("Q")
        try:
            while start := self._parsed(lambda data: parse_packet_start(self.header, data), 1):
                if not self._fill(start.whole):
                    raise CutShortError
                packet = self._take(start.whole)
                if packet_number(start, packet) != index % NUMBERS:
                    raise BitstreamError(f"is damaged (the checksum of packet {index} does not match)")
                if frames % self.header.packet_frames:
                    raise BitstreamError(f"is damaged: packet {index} comes after one that must be the last")
                if index and index % SEEK_STEP == 0:
                    seek.append(position)
                yield packet
                index, frames, position = index + 1, frames + start.layout.frames, position + start.whole
            self._finish(position, index, frames, seek)
        except BitstreamError as error:
            raise type(error)(f"{self.name}: {error}") from None

    def __reduce__(self) -> NoReturn:
        raise NotCopyableError(f"{self.name}: a stream that is read can be neither pickled nor copied; pass on its packets")

    def _finish(self, position: int, packets: int, frames: int, seek: array[int]) -> None:
        self._fill(MAX_END_BYTES + 1)
        size = int.from_bytes(self._data[-END_SIZE_BYTES:], "little")
        if size != len(self._data) or not TAIL_BYTES <= size <= MAX_END_BYTES:
            raise BitstreamError("is cut short, damaged at its end, or has bytes to spare there")
        record = self._take(size - TAIL_BYTES)
        end = parse_end(self.header, record, self._first, position)
        if self._data[:FILE_CHECK_BYTES] != self._check.to_bytes(FILE_CHECK_BYTES, "little"):
            raise BitstreamError("is damaged (its checksum does not match)")
        if (end.packets, end.frames, end.seek) != (packets, frames, seek):
            raise BitstreamError("has an end record that does not fit its packets")
        self.end = end

    def _parsed(self, parse: Callable[[bytes], Parsed], wanted: int) -> Parsed:
        """What `parse` makes of the bytes that come next; it is never waited for more of them than that takes."""
        while True:
            whole = self._fill(wanted)
            try:
                return parse(bytes(self._data))
            except CutShortError as error:
                if not whole or error.needed <= len(self._data):
                    raise
                wanted = error.needed

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
