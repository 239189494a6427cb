"""Packets and the end record of a `.mxc` file: what stands around the coded bytes. The specification is docs/bitstream.md."""

from __future__ import annotations

import binascii
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixcodec.bitstream.header import CHECK_BYTES, Header, check_length
from mixcodec.bitstream.varint import Fields, varint
from mixcodec.errors import BitstreamError

END = 0
"""The first number of the end record; that of a packet is never below 4."""
REGULAR, OTHER_CODES, SHORT = range(3)
"""The form of a packet, in its first number: as the header says, with another number of codes, or with fewer frames too."""
SEEK_STEP = 16
"""The end record tells where every sixteenth packet begins."""
END_SIZE_BYTES = 3
FILE_CHECK_BYTES = 4
MAX_END_BYTES = 1 << 22
MAX_START_BYTES = 21
"""No start of a packet, before its payload, is longer: three numbers."""
MAX_POSITION = (1 << 63) - 1
MIN_PACKET_BYTES = 1 + CHECK_BYTES
NUMBERS = 1 << 15
"""A packet's check tells its number modulo this."""


@dataclass(frozen=True)
class Layout:
    """How many codes a packet holds.

    Attributes:
        frames: of each channel.
        codebooks: codes of a frame.
        more: so many frames, the first ones, have one code more.
    """

    frames: int
    codebooks: int
    more: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """(frames,): codes of each frame."""
        return self.codebooks + (np.arange(self.frames) < self.more)

    @property
    def codes(self) -> int:
        """Of one channel."""
        return self.frames * self.codebooks + self.more

    def most_payload_bytes(self, header: Header) -> int:
        """No coding spends more: the rarest code takes 24 bits, and the coder some at its end."""
        return 64 + 4 * self.codes * header.channels


@dataclass(frozen=True)
class PacketStart:
    """What stands before a packet's payload.

    Attributes:
        layout: what the payload holds.
        size: bytes of this start.
        payload: bytes of the payload, which its check follows.
    """

    layout: Layout
    size: int
    payload: int

    @property
    def whole(self) -> int:
        """Bytes of the packet, start and check included."""
        return self.size + self.payload + CHECK_BYTES


def regular_layout(header: Header) -> Layout:
    """That of every packet that does not say otherwise."""
    return Layout(header.packet_frames, header.codebooks, header.more)


def packet_to_bytes(header: Header, index: int, layout: Layout, payload: bytes) -> bytes:
    """The packet number `index` as it stands in the file."""
    form = SHORT if layout.frames < header.packet_frames else REGULAR if layout == regular_layout(header) else OTHER_CODES
    start = varint((len(payload) + 1) << 2 | form)
    start += varint(layout.frames) if form == SHORT else b""
    start += varint(layout.codes) if form != REGULAR else b""
    return start + payload + _check(start + payload, index).to_bytes(CHECK_BYTES, "little")


def parse_packet_start(header: Header, data: bytes) -> PacketStart | None:
    """The start of the packet that `data` begins with; None where the end record begins there.

    Raises:
        BitstreamError: neither does.
    """
    fields = Fields(data)
    number = fields.number()
    if number == END:
        return None
    payload, form = (number >> 2) - 1, number & 3
    if payload < 0 or form > SHORT:
        raise BitstreamError("has something that is neither a packet nor its end")
    layout = regular_layout(header)
    if form != REGULAR:
        frames = fields.number() if form == SHORT else header.packet_frames
        if form == SHORT and not 1 <= frames < header.packet_frames:
            raise BitstreamError("has a packet of impossible length")
        layout = Layout(frames, *divmod(fields.number(), frames))
        if not 1 <= layout.codebooks <= header.most_codebooks - (layout.more > 0):
            raise BitstreamError("has a packet of impossibly few or many codes")
        if layout == regular_layout(header):
            raise BitstreamError("has a packet that is not in its shortest form")
    if payload > layout.most_payload_bytes(header):
        raise BitstreamError("has a packet that is longer than its codes can be")
    return PacketStart(layout, fields.position, payload)


def packet_number(start: PacketStart, packet: bytes) -> int | None:
    """The number modulo NUMBERS that the check of a whole packet stands for; None where it stands for none.

    The number n is in the check as n xor 2n, which has an even number of ones, and so has every multiple of the CRC's
    polynomial: an odd number of flipped bits never turns a packet into one of another number.
    """
    end = start.whole - CHECK_BYTES
    mark = int.from_bytes(packet[end : start.whole], "little") ^ binascii.crc_hqx(packet[:end], 0)
    if mark.bit_count() % 2:
        return None
    for shift in (1, 2, 4, 8):
        mark ^= mark << shift
    return mark % NUMBERS


def _check(data: bytes, index: int) -> int:
    number = index % NUMBERS
    return binascii.crc_hqx(data, 0) ^ number ^ number << 1


@dataclass(frozen=True)
class EndRecord:
    """What stands after the last packet.

    Attributes:
        sample_count: of the original signal, per channel.
        frames: of all packets, per channel.
        packets: how many there are.
        seek: byte positions of the packets number 16, 32, 48, ...
    """

    sample_count: int
    frames: int
    packets: int
    seek: Sequence[int]

    @property
    def length(self) -> tuple[int, int]:
        """Samples per channel and frames, as the header has them where it knows them."""
        return self.sample_count, self.frames

    def to_bytes(self, header: Header, first: int) -> bytes:
        """The record without the check of the whole file and its own size; `first` is where the first packet begins."""
        numbers = [END] + ([] if header.length else [self.sample_count, self.frames]) + [self.packets]
        numbers += [here - before for before, here in zip([first, *self.seek], self.seek, strict=False)]
        record = b"".join(varint(number) for number in numbers)
        return record + binascii.crc_hqx(record, 0).to_bytes(CHECK_BYTES, "little")


def end_tail(record: bytes, file_check: int) -> bytes:
    """What follows the record: the CRC-32 of all bytes before it, and how many bytes the end takes altogether."""
    size = len(record) + FILE_CHECK_BYTES + END_SIZE_BYTES
    if size > MAX_END_BYTES:
        raise BitstreamError("has too many packets")
    return file_check.to_bytes(FILE_CHECK_BYTES, "little") + size.to_bytes(END_SIZE_BYTES, "little")


def parse_end(header: Header, data: bytes, first: int, size: int) -> EndRecord:
    """The end record `data`, without what `end_tail` adds; `size` is that of the file before it.

    Raises:
        BitstreamError: it is damaged, or contradicts itself or the header.
    """
    fields = Fields(data)
    if fields.number() != END:
        raise BitstreamError("has no end record")
    if binascii.crc_hqx(data[:-CHECK_BYTES], 0) != int.from_bytes(data[-CHECK_BYTES:], "little"):
        raise BitstreamError("is damaged (the checksum of its end does not match)")
    sample_count, frames = header.length or (fields.number(), fields.number())
    check_length(sample_count, frames)
    packets = fields.number()
    if packets != -(-frames // header.packet_frames):
        raise BitstreamError(f"has {packets} packets for {frames} frames")
    entries = max(0, packets - 1) // SEEK_STEP
    if entries > len(data) or packets * MIN_PACKET_BYTES > size - first:
        raise BitstreamError(f"is too short for its {packets} packets")
    seek, position = array("Q"), first
    for _ in range(entries):
        position += fields.number()
        seek.append(min(position, MAX_POSITION))
    if fields.position != len(data) - CHECK_BYTES:
        raise BitstreamError("has an end record that does not fit its packets")
    return EndRecord(sample_count, frames, packets, seek)
