"""What a survey of a sound file gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mixcodec.contents import SEARCH_BYTES, Contents

MAX_PARTS = 100_000
UNKNOWN = -1
TAG_BYTES = 32
"""Enough for the head of any tag."""
MAX_LYRICS = 1 << 20


@dataclass
class Part:
    """A stretch of a file that is a sound file of its own.

    Attributes:
        start, stop: where it lies in the file, bytes.
        samples: per channel, as its bytes tell; UNKNOWN where only reading does; None where libsndfile knows.
        slack: so many fewer are no loss.
        declared: per channel, as its header says, where that is not what its bytes tell.
        head: bytes to be read before it.
        patches: pairs (position, bytes to be read there instead).
        instead: to be read instead where libsndfile takes this one for shorter than its samples.
    """

    start: int
    stop: int
    samples: int | None = None
    slack: int = 0
    declared: int | None = None
    head: bytes = b""
    patches: Sequence[tuple[int, bytes]] = field(default_factory=tuple)
    instead: Part | None = None


@dataclass
class Survey:
    """The parts of a file, what is to be said of it, and where what is known of it ends."""

    parts: list[Part]
    notes: list[str]
    stop: int


def sound_part(part: Part, stop: int, declared: int, held: int, cut: bool, block: int) -> Survey:
    """The survey of one `part` that declares and holds so many bytes of sound, `block` to a sample of all channels.

    `block` is 0 where that is not so; `cut` says that fewer are held than declared.
    """
    notes = []
    if block:
        part.samples = held // block
        part.declared = declared // block if cut else None
    elif cut:
        notes.append(f"declares {declared} bytes of sound, but holds {held}: its end is missing")
    return Survey([part], notes, stop)


class Damage(Exception):
    """Sound is missing in the middle of a file; the message says where, and goes on from its name."""


def harmless(contents: Contents, position: int) -> int:
    """Where the tags, the zeros or the at most three stray bytes that lie at `position` end."""
    while position < contents.size:
        if contents.size - position <= 3:
            return contents.size
        tag = tag_bytes(contents, position)
        after = position + tag if tag else _zeros(contents, position)
        if after == position:
            return position
        position = min(after, contents.size)
    return position


def tags_before(contents: Contents, start: int, stop: int) -> int:
    """Where the ID3 tag of 128 bytes, and the APE tag that end at `stop` begin."""
    if stop - start > 128 and contents.at(stop - 128, 3) == b"TAG":
        stop -= 128
    foot = contents.at(stop - 32, 32) if stop - start > 32 else b""
    if foot[:8] == b"APETAGEX":
        stop -= int.from_bytes(foot[12:16], "little") + 32 * (foot[23] >> 7)
    return max(start, stop)


def tag_bytes(contents: Contents, position: int) -> int:
    """The size of the tag (ID3, APE, Lyrics3) that begins at `position`; 0 where none does."""
    head = contents.at(position, TAG_BYTES)
    if head[:3] == b"TAG":
        return 227 if head[3:4] == b"+" else 128
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = sum(value << (7 * place) for place, value in enumerate(reversed(head[6:10])))
        return size + (20 if head[5] & 0x10 else 10)
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        return int.from_bytes(head[12:16], "little") + 32 if head[23] & 0x20 else 32
    if head[:11] == b"LYRICSBEGIN":
        ends = (contents.find(mark, position, position + MAX_LYRICS) for mark in (b"LYRICS200", b"LYRICSEND"))
        return next((end + 9 - position for end in ends if end >= 0), 0)
    return 0


def _zeros(contents: Contents, position: int) -> int:
    """Where the zeros from `position` on end."""
    if contents.at(position, 1) != b"\0":
        return position
    nothing = bytes(SEARCH_BYTES)
    for start, block in contents.blocks(position, contents.size):
        if block != nothing[: len(block)]:
            rest = block.lstrip(b"\0")
            return start + len(block) - len(rest)
    return contents.size
