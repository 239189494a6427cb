"""Ogg (RFC 3533): page after page, each with its number and its checksum, and stream after stream."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mixcodec.contents import SEARCH_BYTES, Contents
from mixcodec.formats.survey import Damage, Part, Survey, harmless

CAPTURE = b"OggS"
HEAD_BYTES = 27
MOST_PAGE = HEAD_BYTES + 255 + 255 * 255
FIRST, LAST = 2, 4
SOUND = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   ")
REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass
class Stream:
    """A logical stream: is it sound; of its latest page the number, is it of headers, and is it the last."""

    sound: bool
    number: int
    opening: bool
    ended: bool


@dataclass(frozen=True)
class Page:
    """A page: where it lies, its flags, the stream's number, its own, and all its bytes."""

    start: int
    stop: int
    flags: int
    serial: int
    number: int
    data: bytes


def survey(contents: Contents, start: int, quick: bool = False) -> Survey | None:
    """The Ogg file that begins at `start`, with all that is joined to it.

    `quick` trusts the pages.

    Raises:
        Damage: pages are damaged, or are missing.
    """
    parts: list[Part] = []
    notes: list[str] = []
    streams: dict[int, Stream] = {}
    begun, stop, headers = start, start, True
    bad: list[int] = []
    for page in _pages(contents, start):
        if page.start > stop:
            bad.append(stop)
        if not quick and not _is_whole(page.data):
            bad.append(page.start)
        stop = page.stop
        if page.flags & FIRST:
            if not headers:
                parts.append(Part(begun, page.start))
                notes += _notes(streams)
                begun, streams, headers = page.start, {}, True
        else:
            headers = False
            known = streams.get(page.serial)
            if known is None or page.number != known.number + 1 & 0xFFFFFFFF:
                if known and known.opening:  # a recorded broadcast, which has its headers from before
                    notes.append(f"begins with page {page.number} of its stream: what came before it is missing")
                else:
                    bad.append(page.start)
        lacing = page.data[HEAD_BYTES : HEAD_BYTES + page.data[26]]
        body = page.data[HEAD_BYTES + len(lacing) : HEAD_BYTES + len(lacing) + 8]
        sound = body.startswith(SOUND) if page.flags & FIRST else page.serial in streams and streams[page.serial].sound
        streams[page.serial] = Stream(sound, page.number, not any(page.data[6:14]), bool(page.flags & LAST))
    if bad:
        raise Damage(f"is damaged: pages are broken or missing at {len(set(bad))} place(s), the first at byte {min(bad)}")
    if stop == start:
        return None
    if headers:
        return Survey(parts, notes, begun) if parts else None
    parts.append(Part(begun, stop))
    notes += _notes(streams)
    if contents.at(stop, 4) == CAPTURE:
        notes.append("ends in the middle of a page: its end is missing")
        return Survey(parts, notes, contents.size)
    if not all(stream.ended for stream in streams.values() if stream.sound):
        notes.append("has no page that is marked as its last: its end may be missing")
    if harmless(contents, stop) == contents.size:
        parts[-1].stop = contents.size
    return Survey(parts, notes, parts[-1].stop)


def _notes(streams: dict[int, Stream]) -> list[str]:
    sounds = sum(stream.sound for stream in streams.values())
    return [f"holds {sounds} sounds side by side, of which the first is read"] if sounds > 1 else []


def _pages(contents: Contents, place: int) -> Iterator[Page]:
    """The pages from `place` on; where none begins, the next that does."""
    block, start = b"", 0
    while place < contents.size:
        first = place - start
        if first + MOST_PAGE > len(block) and start + len(block) < contents.size:
            block, start, first = contents.at(place, SEARCH_BYTES), place, 0
        head = block[first : first + HEAD_BYTES]
        lacing = block[first + HEAD_BYTES : first + HEAD_BYTES + head[26]] if len(head) == HEAD_BYTES else b""
        size = HEAD_BYTES + len(lacing) + sum(lacing)
        whole = len(head) == HEAD_BYTES and len(lacing) == head[26] and place + size <= contents.size
        if head[:5] != CAPTURE + b"\0" or not whole:
            place = contents.find(CAPTURE + b"\0", place + 1)
            if place < 0:
                return
            continue
        serial, number = int.from_bytes(head[14:18], "little"), int.from_bytes(head[18:22], "little")
        yield Page(place, place + size, head[5], serial, number, block[first : first + size])
        place += size


def _is_whole(page: bytes) -> bool:
    """Whether a page has its checksum: that of zlib, of all bits the other way round and begun with 0."""
    plain = (page[:22] + b"\0\0\0\0" + page[26:]).translate(REVERSED)
    checksum = (zlib.crc32(plain, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "little").translate(REVERSED)
    return checksum == page[25:21:-1]
