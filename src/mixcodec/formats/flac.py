"""FLAC (RFC 9639): how many samples its last frame ends with, whatever its header says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mixcodec.contents import Contents
from mixcodec.formats.survey import UNKNOWN, Part, Survey, tags_before

ANOTHER = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
"""How every FLAC begins: the mark, and the head of the block that describes the stream."""
LEAST_TAIL, MOST_TAIL = 1 << 17, 1 << 22
"""Bytes at the end in which the last frame is looked for."""
RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
SIZES = (0, 192, 576, 1152, 2304, 4608, 0, 0, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
TOTAL_BITS = 36


@dataclass(frozen=True)
class Stream:
    """What the header says of a stream: the samples of every block but the last, Hz, channels, samples in all (0: unknown)."""

    block: int
    steady: bool
    rate: int
    channels: int
    total: int
    frame_bytes: int


def survey(contents: Contents, mark: int, start: int | None = None, quick: bool = False) -> Survey | None:
    """The FLAC whose mark is at `mark`, and which begins there or with a tag at `start`; None where it has no proper header.

    `quick` does not look for a further one behind it, for which all of the file must be read.
    """
    start = mark if start is None else start
    head = contents.at(mark, 42)
    if len(head) < 42 or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    numbers = int.from_bytes(head[18:26], "big")
    stream = Stream(
        block=int.from_bytes(head[10:12], "big"),
        steady=head[8:10] == head[10:12],
        rate=numbers >> 44,
        channels=(numbers >> 41 & 7) + 1,
        total=numbers & (1 << TOTAL_BITS) - 1,
        frame_bytes=int.from_bytes(head[15:18], "big"),
    )
    others = [place for wanted in (() if quick else ANOTHER) if (place := contents.find(wanted, mark + 8)) >= 0]
    stop = min(others, default=contents.size)
    end = tags_before(contents, mark, stop)
    part = Part(start, end, stream.total)
    if stream.total != max(_ends(stream, contents, mark, end), default=0):
        part.samples = UNKNOWN
        part.declared = stream.total or None
        if stream.total:  # let libsndfile read what is there
            part.patches = [(mark + 18, (numbers >> TOTAL_BITS << TOTAL_BITS).to_bytes(8, "big"))]
    return Survey([part], [], stop)


def _ends(stream: Stream, contents: Contents, start: int, stop: int) -> Iterator[int]:
    """The number of the sample after each frame that seems to begin near the end; chance rarely makes one up."""
    size = min(max(LEAST_TAIL, 2 * stream.frame_bytes), MOST_TAIL)
    tail = contents.at(max(start, stop - size), min(size, stop - start))
    place = len(tail)
    while (place := tail.rfind(b"\xff", 0, place)) >= 0:
        if tail[place + 1 : place + 2] in (b"\xf8", b"\xf9") and (end := _frame_end(stream, tail[place : place + 16])):
            yield end


def _frame_end(stream: Stream, head: bytes) -> int:
    """The number of the sample after the frame whose first bytes these are; 0 where it is none of this stream."""
    if len(head) < 6 or head[3] & 1:
        return 0
    size, rate, layout = head[2] >> 4, head[2] & 15, head[3] >> 4
    if size == 0 or rate == 15 or (stream.channels != (layout + 1 if layout < 8 else 2)) or layout > 10:
        return 0
    if 0 < rate < 12 and RATES[rate] != stream.rate:
        return 0
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # the number is written as UTF-8 writes a letter's
    if ones in (1, 8):
        return 0
    extra = max(0, ones - 1)
    number = head[4] & (0xFF >> ones + 1 if ones else 0x7F)
    for byte in head[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    place = 5 + extra
    samples = SIZES[size]
    if size in (6, 7):
        samples = int.from_bytes(head[place : place + size - 5], "big") + 1
        place += size - 5
    place += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if place >= len(head) or _crc8(head[:place]) != head[place]:
        return 0
    return (number if head[1] & 1 else number * stream.block) + samples


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc
