"""What is left of a damaged or cut `.mxc` file: every packet that is whole, wherever it is."""

from __future__ import annotations

from collections.abc import Iterator

from mixcodec.bitstream.header import CHECK_BYTES
from mixcodec.bitstream.packet import MAX_START_BYTES, PacketStart, packet_index, parse_packet_start
from mixcodec.bitstream.reader import MxcReader, Packet
from mixcodec.errors import BitstreamError

SCAN_BYTES = 1 << 22
"""How far a scan for the next whole packet goes before the rest is given up."""
WORK_BYTES = 1 << 28
"""How many bytes a rescue checksums altogether: a file made to look like packets everywhere ends it, not the patience."""
WINDOW_BYTES = 1 << 20
MAX_LOST_PACKETS = 1 << 12
"""How many packets in a row may be missing for what comes after them to be believed."""


def rescued_packets(reader: MxcReader) -> Iterator[Packet]:
    """Every packet that is whole, in order, whatever happened to the rest of the file.

    After a damaged one the next is looked for where its length says, then byte by byte for at most SCAN_BYTES, then wherever
    a seek entry points. What is found so counts only where a further packet, or the end, follows it directly: a checksum of
    16 bits alone would be met by chance at one place in 65536.
    """
    return _Rescue(reader).packets()


class _Rescue:
    def __init__(self, reader: MxcReader) -> None:
        self._reader = reader
        self._window, self._window_start = b"", 0
        self._work = 0
        try:
            self._anchors = list(reader.end().seek)
        except BitstreamError:
            self._anchors = []

    def packets(self) -> Iterator[Packet]:
        position, last = self._reader.first, -1
        while position < self._reader.file_bytes:
            found = self._whole(position, last) or self._search(position, last)
            if found is None:
                return
            packet, position = found
            yield packet
            last = packet.index

    def _search(self, position: int, last: int) -> tuple[Packet, int] | None:
        start = self._start(position)
        if start is not None and (found := self._followed(position + start.whole, last)):
            return found
        for place in range(position + 1, min(self._reader.file_bytes, position + SCAN_BYTES)):
            if found := self._followed(place, last):
                return found
            if self._work > WORK_BYTES:
                return None
        for place in self._anchors:
            if place > position and (found := self._followed(place, last)):
                return found
        return None

    def _followed(self, position: int, last: int) -> tuple[Packet, int] | None:
        """The packet at `position` if what follows it is the next one, or the end."""
        found = self._whole(position, last)
        if found is None:
            return None
        packet, after = found
        following = self._whole(after, packet.index)
        if following is not None and following[0].index == packet.index + 1:
            return found
        return found if after == self._reader.file_bytes or self._ends(after) else None

    def _ends(self, position: int) -> bool:
        """Whether the end record may begin at `position`."""
        try:
            return parse_packet_start(self._reader.header, self._at(position, MAX_START_BYTES)) is None
        except BitstreamError:
            return False

    def _whole(self, position: int, last: int) -> tuple[Packet, int] | None:
        """The packet at `position`, if its check stands for a number after `last`, and where it ends."""
        start = self._start(position)
        if start is None:
            return None
        data = self._at(position, start.whole)
        if len(data) < start.whole:
            return None
        self._work += len(data)
        ahead = (packet_index(start, data) - last - 1) & 0xFFFF
        if ahead >= MAX_LOST_PACKETS:
            return None
        payload = data[start.size : -CHECK_BYTES]
        return Packet(last + 1 + ahead, position, start.layout, payload, start.whole), position + start.whole

    def _start(self, position: int) -> PacketStart | None:
        try:
            return parse_packet_start(self._reader.header, self._at(position, MAX_START_BYTES))
        except BitstreamError:
            return None

    def _at(self, position: int, count: int) -> bytes:
        first = position - self._window_start
        if first < 0 or first + count > len(self._window):
            self._window, self._window_start, first = self._reader.at(position, max(count, WINDOW_BYTES)), position, 0
        return self._window[first : first + count]
