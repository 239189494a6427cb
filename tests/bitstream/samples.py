"""Small `.mxc` files of every kind, from codes that a formula gives: for the tests and for fuzz.py.

    python tests/bitstream/samples.py

writes golden/ anew. Only a new version of the format may do that: what is there must be read for ever.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np

from mixcodec.bitstream import Header, Layout, MxcWriter, coding_for
from mixcodec.entropy import Tables, bytes_to_tables
from mixcodec.entropy.tables import BookTables, Context

GOLDEN = Path(__file__).parent / "golden"
FINGERPRINT = "00112233445566778899aabbccddeeff"
SIZE, BOOKS = 12, 3
UNIFORM, ADAPTIVE, STATIC, CONTEXT = 1, 2, 3, 4


def context(back: int, book: int, classes: int) -> Context:
    levels = (np.arange(classes * 16).reshape(classes, 16) * 37 % 301 - 150).astype(np.int16)
    picks = (np.arange(classes * SIZE).reshape(classes, SIZE) * 7 % 16).astype(np.uint8)
    return Context(back, book, (np.arange(SIZE + 1) * 5 % classes).astype(np.uint8), levels, picks)


def made_tables() -> Tables:
    """Three codebooks that look at all kinds of earlier codes; two codes are so rare that their weight is 0."""
    base = (np.arange(SIZE) * 11 % 40).astype(np.uint8)
    base[[2, 7]] = 255
    return Tables(
        SIZE,
        (
            BookTables(base, (context(1, 0, 3), context(1, 1, 2))),
            BookTables(base[::-1].copy(), (context(0, 0, 4),)),
            BookTables(base, (context(0, 1, 2), context(0, 0, 3), context(1, 2, 2))),
        ),
    )


@cache
def tables() -> Tables:
    """The frozen ones."""
    return bytes_to_tables((GOLDEN / "entropy.bin").read_bytes())


def codes(channels: int, frames: int, books: int, size: int = SIZE) -> np.ndarray:
    """(C, T, K) from a formula, with repetitions."""
    c, t, k = np.ogrid[:channels, :frames, :books]
    value = (c * 31 + t // 2 * 17 + (t % 7 == 0) * t * 5 + k * 13 + t * k * 3) * 2654435761 % 2**32 >> 11
    return value % size


@dataclass(frozen=True)
class Sample:
    """A file to make.

    Attributes:
        layouts: of its packets, as many as there are; None for regular ones of all codebooks.
        stream: whether the header leaves the length to the end record.
    """

    coding: int
    channels: int = 1
    frames: int = 7
    books: int = 3
    packet_frames: int = 4
    size: int = SIZE
    layouts: tuple[Layout, ...] | None = None
    stream: bool = False
    sample_count: int = 0
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def header(self) -> Header:
        usual = self.layouts[0] if self.layouts else Layout(self.packet_frames, self.books, 0)
        samples = self.sample_count or 320 * self.frames
        return Header(
            model="tiny",
            fingerprint=FINGERPRINT,
            sample_rate=16000,
            channels=self.channels,
            codebooks=usual.codebooks,
            more=usual.more,
            most_codebooks=self.books,
            codebook_size=self.size,
            frame_rate=Fraction(50),
            packet_frames=self.packet_frames,
            coding=self.coding,
            tables=tables().fingerprint if self.coding >= STATIC else 0,
            length=None if self.stream else (samples, self.frames),
            metadata=self.metadata,
        )

    def codes(self) -> np.ndarray:
        """What must come back: (C, T, K), -1 where a frame has no code."""
        found = codes(self.channels, self.frames, self.books, self.size)
        at = 0
        for layout in self.layouts or ():
            counts = [layout.codebooks + (frame < layout.more) for frame in range(layout.frames)]
            for frame, count in enumerate(counts):
                found[:, at + frame, count:] = -1
            at += layout.frames
        return found

    def write(self, file: object) -> None:
        writer = MxcWriter(file, self.header, coding_for(self.header, tables() if self.coding >= STATIC else None))
        starts = range(0, self.frames, self.packet_frames)
        for index, start in enumerate(starts):
            piece = codes(self.channels, self.frames, self.books, self.size)[:, start : start + self.packet_frames]
            writer.packet(piece, self.layouts[index] if self.layouts else None)
        writer.finish(self.sample_count or 320 * self.frames)

    def to_bytes(self) -> bytes:
        self.write(file := BytesIO())
        return file.getvalue()


SAMPLES = {
    "uniform-mono": Sample(UNIFORM, frames=4),
    "uniform-one-frame": Sample(UNIFORM, frames=1, books=2, packet_frames=200, size=1024, sample_count=5),
    "adaptive-stereo": Sample(ADAPTIVE, channels=2, frames=9, packet_frames=5, metadata={"title": "Größe", "a": ""}),
    "adaptive-large-codebook": Sample(ADAPTIVE, frames=30, books=1, packet_frames=30, size=65536),
    "static-mono": Sample(STATIC, frames=6, books=2),
    "static-three-channels": Sample(STATIC, channels=3, frames=5, books=1, packet_frames=2),
    "context-mono": Sample(CONTEXT, frames=40, packet_frames=16),
    "context-stereo": Sample(CONTEXT, channels=2, frames=21, packet_frames=8),
    "context-two-of-three-books": Sample(CONTEXT, frames=12, books=2, packet_frames=12),
    "irregular": Sample(
        CONTEXT,
        channels=2,
        frames=23,
        packet_frames=5,
        layouts=(Layout(5, 2, 3), Layout(5, 1, 0), Layout(5, 2, 3), Layout(5, 3, 0), Layout(3, 1, 2)),
    ),
    "irregular-adaptive": Sample(
        ADAPTIVE, frames=12, packet_frames=5, layouts=(Layout(5, 1, 4), Layout(5, 2, 0), Layout(2, 2, 1)), stream=True
    ),
    "stream": Sample(CONTEXT, frames=70, packet_frames=2, stream=True, metadata={"made by": "a stream"}),
    "seek-table": Sample(UNIFORM, frames=99, books=1, packet_frames=3),
    "empty": Sample(UNIFORM, frames=0),
    "empty-stream": Sample(CONTEXT, frames=0, stream=True),
}


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "entropy.bin").write_bytes(made_tables().to_bytes())
    for name, sample in SAMPLES.items():
        (GOLDEN / f"{name}.mxc").write_bytes(sample.to_bytes())


if __name__ == "__main__":
    main()
