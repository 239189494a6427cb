"""What is left of a damaged or cut `.mxc` file: every packet that is whole, wherever it is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from mixcodec.bitstream.header import CHECK_BYTES
from mixcodec.bitstream.packet import MAX_START_BYTES, NUMBERS, PacketStart, packet_number, parse_packet_start
from mixcodec.bitstream.reader import MxcReader, Packet
from mixcodec.errors import BitstreamError

SCAN_BYTES = 1 << 18
"""How far the next whole packet is looked for byte by byte, before the seek table is asked."""
WORK_BYTES = 1 << 29
"""How much looking there is altogether: a file made to look like packets everywhere ends it, not the patience."""
PLACE_BYTES = 1 << 10
"""What a look at one place costs of it, beside the bytes that are checksummed there."""
WINDOW_BYTES = 1 << 20
"""So much of the file before and after a place is at hand: more than three packets take."""
MAX_LOST_FRAMES = 1 << 20
"""How many frames in a row may be missing, nearly six hours at 50 Hz."""
MAX_LOST_PACKETS = NUMBERS // 2
WITNESSES = 2
"""How many packets must follow one that was found by looking, if the end of the packets does not."""


def rescued_packets(reader: MxcReader) -> Iterator[Packet]:
    """Every packet that is whole, in order, whatever happened to the rest of the file.

    A packet is taken where the one before it ends, if its check is right for the next number, or, where that one is damaged,
    where its length says that the next but one begins. After any other damage the next packet is looked for byte by byte
    for SCAN_BYTES, then wherever a seek entry points. A checksum of 16 bits is met by chance at one place in 65536, so what
    is found by looking counts only where WITNESSES further packets follow it, or the end record.
    """
    return _Rescue(reader).packets()


class _Rescue:
    def __init__(self, reader: MxcReader) -> None:
        self._reader = reader
        self._window, self._window_start = b"", 0
        self._work = 0
        frames = reader.header.packet_frames
        self._most_lost = min(MAX_LOST_PACKETS, MAX_LOST_FRAMES // frames)
        self._anchors: Sequence[int] = ()
        self._stop = reader.file_bytes
        self._packets = -(-reader.header.length[1] // frames) if reader.header.length else None
        try:
            end = reader.end()
        except BitstreamError:
            return
        self._anchors, self._stop, self._packets = end.seek, reader.end_position, end.packets

    def packets(self) -> Iterator[Packet]:
        position, last = self._reader.first, -1
        while position < self._stop:
            found = self._numbered(position, last, last + 1) or self._search(position, last)
            if found is None:
                return
            packet, position = found
            yield packet
            last = packet.index

    def _search(self, position: int, last: int) -> tuple[Packet, int] | None:
        start = self._start(position)
        if start is not None and (found := self._numbered(position + start.whole, last, last + 2)):
            return found
        for place in range(position, min(self._stop, position + SCAN_BYTES)):
            if self._work > WORK_BYTES:
                return None
            if found := self._witnessed(place, last):
                return found
        for entry in range(bisect_right(self._anchors, position), len(self._anchors)):
            if self._work > WORK_BYTES:
                return None
            if found := self._witnessed(self._anchors[entry], last):
                return found
        return None

    def _witnessed(self, position: int, last: int) -> tuple[Packet, int] | None:
        """The packet at `position` if WITNESSES follow it, or the end."""
        self._work += PLACE_BYTES
        found = self._whole(position, last)
        if found is None:
            return None
        packet, after = found
        for ahead in range(WITNESSES):
            if after == self._reader.end_position:
                return found
            following = self._numbered(after, packet.index + ahead, packet.index + ahead + 1)
            if following is None:
                return None
            after = following[1]
        return found

    def _numbered(self, position: int, last: int, index: int) -> tuple[Packet, int] | None:
        found = self._whole(position, last)
        return found if found is not None and found[0].index == index else None

    def _whole(self, position: int, last: int) -> tuple[Packet, int] | None:
        """The packet at `position`, if its check stands for a number after `last`, and where it ends."""
        start = self._start(position)
        if start is None or position + start.whole > self._stop:
            return None
        data = self._at(position, start.whole)
        self._work += len(data)
        number = packet_number(start, data)
        if number is None:
            return None
        lost = (number - last - 1) % NUMBERS
        index = last + 1 + lost
        if lost > self._most_lost or (self._packets is not None and index >= self._packets):
            return None
        payload = data[start.size : -CHECK_BYTES]
        return Packet(index, position, start.layout, payload, start.whole), position + start.whole

    def _start(self, position: int) -> PacketStart | None:
        try:
            return parse_packet_start(self._reader.header, self._at(position, MAX_START_BYTES))
        except BitstreamError:
            return None

    def _at(self, position: int, count: int) -> bytes:
        first = position - self._window_start
        whole = first + count <= len(self._window) or self._window_start + len(self._window) == self._reader.file_bytes
        if first < 0 or not whole:
            self._window_start = max(0, position - WINDOW_BYTES)
            self._window = self._reader.at(self._window_start, 2 * WINDOW_BYTES)
            first = position - self._window_start
        return self._window[first : first + count]
