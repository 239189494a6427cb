"""Writing a `.mxc` file packet by packet, to anything that takes bytes: a file or a pipe."""

from __future__ import annotations

import zlib
from typing import Protocol

from mixcodec.bitstream.coding import codes_to_payload
from mixcodec.bitstream.header import Header
from mixcodec.bitstream.packet import SEEK_STEP, EndRecord, Layout, end_tail, packet_to_bytes, regular_layout
from mixcodec.entropy import EntropyModel
from mixcodec.entropy.model import Codes


class Sink(Protocol):
    """What bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take `data`, all of it."""


class MxcWriter:
    """Writes the header at once, each packet when it is given, and the end record: one `write` for each of them.

    Args:
        file: where the bytes go; never sought in.
        header: of the file; where it knows the length, `finish` holds the packets to that.
        coding: the entropy coding that the header names.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, file: Sink, header: Header, coding: EntropyModel) -> None:
        self._file = file
        self._header = header
        self._coding = coding
        self._frames = self._packets = self._check = self.size = 0
        self._short = False
        self._seek: list[int] = []
        self._write(header.to_bytes())
        self._first = self.size

    def packet(self, codes: Codes, layout: Layout | None = None) -> int:
        """Write the codes (C, t, k) of the next packet; return the bytes that it takes.

        Args:
            codes: t is the header's `packet_frames`, and less only in the last packet.
            layout: which of the codes to keep; by default those that the header says, or what of them fits t frames.
        """
        layout = layout or cut_layout(regular_layout(self._header), codes.shape[1])
        if self._short or layout.frames > self._header.packet_frames or layout.frames != codes.shape[1]:
            raise ValueError("every packet but the last has as many frames as the header says")
        self._short = layout.frames < self._header.packet_frames
        if self._packets and self._packets % SEEK_STEP == 0:
            self._seek.append(self.size)
        data = packet_to_bytes(self._header, self._packets, layout, codes_to_payload(self._coding, codes, layout))
        self._write(data)
        self._packets += 1
        self._frames += layout.frames
        return len(data)

    def finish(self, sample_count: int) -> int:
        """Write the end record; `sample_count` is that of the original, per channel. Returns the size of the file."""
        length = (sample_count, self._frames)
        if self._header.length not in (None, length):
            raise ValueError(f"the header promised {self._header.length} samples and frames, but there are {length}")
        end = EndRecord(sample_count, self._frames, self._packets, self._seek)
        record = end.to_bytes(self._header, self._first)
        self._write(record + end_tail(record, zlib.crc32(record, self._check)))
        return self.size

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._check = zlib.crc32(data, self._check)
        self.size += len(data)


def cut_layout(layout: Layout, frames: int) -> Layout:
    """The same share of codes in a packet of fewer frames."""
    if frames == layout.frames:
        return layout
    return Layout(frames, layout.codebooks, min(layout.more * frames // layout.frames, frames - 1))
