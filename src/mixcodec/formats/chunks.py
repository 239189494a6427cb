"""Files made of chunks, each with its name and its size: how far the chunk of the sound reaches, whatever its size says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mixcodec.contents import Contents
from mixcodec.formats.survey import harmless

MAX_CHUNKS = 10_000
NEAR = 4096
"""A size up to so many bytes below a power of two is none: a writer that could not know it took the largest, less its header."""
FILES = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"riff", b"fLaC", b"OggS", b".snd")
"""What a chunk is not called: another file begins there."""
SOUND = (b"data", b"SSND")
"""A second chunk of sound, which nobody reads."""
KNOWN = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"fact", b"cue ", b"smpl", b"iXML", b"JUNK", b"PAD ", b"PEAK", b"APPL", b"ANNO")
"""Chunks that are recognised even where the file ends within them."""


@dataclass(frozen=True)
class Layout:
    """How chunks are written: a name, the size of what follows it, and bytes that fill that up to a multiple of `fill`.

    Attributes:
        name, size: bytes of the name, whose first four are letters, and of the size.
        counted: so many bytes of name and size are counted in the size.
    """

    order: Literal["little", "big"]
    name: int = 4
    size: int = 4
    fill: int = 2
    counted: int = 0

    @property
    def head(self) -> int:
        """Bytes of name and size."""
        return self.name + self.size

    def filled(self, size: int) -> int:
        """`size` with the bytes that fill it up."""
        return size + -size % self.fill


@dataclass(frozen=True)
class Chunk:
    """A chunk of a file: its name's four letters, where its size and its contents stand, how large these are."""

    name: bytes
    place: int
    body: int
    size: int


@dataclass(frozen=True)
class Extent:
    """How far the sound reaches.

    Attributes:
        declared: bytes, as its chunk says.
        held: bytes that there are.
        cut: there are fewer than declared.
        stop: where the chunks behind it end too.
    """

    declared: int
    held: int
    cut: bool
    stop: int


def chunks(contents: Contents, layout: Layout, place: int) -> Iterator[Chunk]:
    """The chunks that begin at `place`, up to one that the file has only the beginning of."""
    for _ in range(MAX_CHUNKS):
        head = contents.at(place, layout.head)
        if len(head) < layout.head:
            return
        size = int.from_bytes(head[layout.name :], layout.order) - layout.counted
        yield Chunk(head[:4], place + layout.name, place + layout.head, size)
        if size < 0:
            return
        place += layout.head + layout.filled(size)


def data_extent(contents: Contents, layout: Layout, data: int, declared: int) -> Extent:
    """How far the sound that begins at `data` reaches, of which so many bytes are declared.

    0 with no chunk behind it, a negative number, or the largest of its kind was never filled in: the sound goes on to the end of
    the file. A number of 32 bits that ran over is put right by the chunks, or the end of the file, that the sound then meets.
    """
    available = contents.size - data
    stop = _chunks_end(contents, layout, data, declared) if 0 <= declared <= available else None
    mark = any(0 <= top - declared <= NEAR for top in (1 << 8 * layout.size, 1 << 8 * layout.size - 1))
    if stop is None and (mark or declared <= 0):
        return Extent(declared, available, False, contents.size)
    if declared > available:
        return Extent(declared, available, True, contents.size)
    if stop is not None:
        return Extent(declared, declared, False, stop)
    for held in range(declared + (1 << 32), available + 1, 1 << 32) if layout.size == 4 else ():
        if (stop := _chunks_end(contents, layout, data, held)) is not None:
            return Extent(declared, held, False, stop)
    return Extent(declared, declared, False, data + declared)


def _chunks_end(contents: Contents, layout: Layout, data: int, size: int) -> int | None:
    """Where the chunks end that follow `size` bytes of sound, with or without bytes that fill those up; None if none follows.

    The end of the file, another file and a tag are as good as a chunk.
    """
    for place in dict.fromkeys((data + layout.filled(size), data + size)):
        if (end := _walked(contents, layout, min(place, contents.size))) is not None:
            return end
    return None


def _walked(contents: Contents, layout: Layout, place: int) -> int | None:
    end = None
    if harmless(contents, place) == contents.size:
        return place
    for chunk in chunks(contents, layout, place):
        start = chunk.body - layout.head
        if chunk.name in FILES or chunk.name in SOUND:
            return start
        if not all(0x20 <= letter < 0x7F for letter in chunk.name) or chunk.size < 0:
            return end
        after = chunk.body + layout.filled(chunk.size)
        if after > contents.size + 1:
            return contents.size if chunk.name in KNOWN else end
        end = min(after, contents.size)
        if harmless(contents, end) == contents.size:
            return end
    return end
