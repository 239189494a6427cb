"""Wav, and its 64-bit forms RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088): RIFF files of the form WAVE."""

from __future__ import annotations

from mixcodec.contents import Contents
from mixcodec.formats.chunks import Layout, chunks, data_extent
from mixcodec.formats.survey import UNKNOWN, Part, Survey, sound_part

MPEG = (0x50, 0x55)
PLAIN = (1, 3, 6, 7)
"""The numbers of the codings in which every sample has bytes of its own: integers, floats, A-law, mu-law."""
EXTENSIBLE = 0xFFFE
NO_SIZE = 0xFFFFFFFF


def survey(contents: Contents, start: int) -> Survey | None:
    """The wav that begins at `start`; None where it is none, or no sound can be found in it."""
    magic = contents.at(start, 4)
    if contents.at(start + 8, 4) != b"WAVE":
        return None
    layout = Layout("big" if magic == b"RIFX" else "little")
    coding = block = size64 = 0
    for chunk in chunks(contents, layout, start + 12):
        if chunk.name == b"fmt ":
            body = contents.at(chunk.body, min(chunk.size, 40))
            coding, block = int.from_bytes(body[:2], layout.order), int.from_bytes(body[12:14], layout.order)
            if coding == EXTENSIBLE:
                coding = int.from_bytes(body[24:26], layout.order)
        elif chunk.name == b"ds64":
            size64 = chunk.body + 8
        elif chunk.name == b"data":
            break
    else:
        return None
    long = size64 > 0 and chunk.size == NO_SIZE
    declared = int.from_bytes(contents.at(size64, 8), "little", signed=True) if long else chunk.size
    extent = data_extent(contents, layout, chunk.body, declared)
    patches = [(start, b"RF64")] if magic == b"BW64" else []
    if extent.held != declared:
        size = extent.held.to_bytes(8, "little") if long else min(extent.held, NO_SIZE).to_bytes(4, layout.order)
        patches.append((size64 if long else chunk.place, size))
    part = Part(start, chunk.body + extent.held if patches else extent.stop, patches=patches)
    if coding in MPEG:  # libsndfile only guesses how many samples these are
        part.samples = UNKNOWN
    return sound_part(part, extent.stop, declared, extent.held, extent.cut, block if coding in PLAIN else 0)
