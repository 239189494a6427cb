"""Further files of plain samples: AIFF and AIFF-C, Sony Wave64, Apple's CAF, Sun's AU, the SPHERE of NIST, and VOC."""

from __future__ import annotations

import struct

from mixcodec.contents import Contents
from mixcodec.formats.chunks import Layout, chunks, data_extent
from mixcodec.formats.survey import Part, Survey, sound_part

AIFF = Layout("big")
AIFF_PLAIN = (b"NONE", b"twos", b"sowt", b"raw ", b"fl32", b"FL32", b"fl64", b"FL64", b"ulaw", b"ULAW", b"alaw", b"ALAW")
WAVE64 = Layout("little", name=16, size=8, fill=8, counted=24)
CAF = Layout("big", size=8, fill=1)
AU_UNKNOWN = 0xFFFFFFFF
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
"""Of a sample, by the number of its coding."""

SPHERE_BYTES = 1024
VOC_SOUND = (b"\x01", b"\x02", b"\x09")


def aiff(contents: Contents, start: int) -> Survey | None:
    """The AIFF that begins at `start`; None where it is none, or no sound can be found in it."""
    if contents.at(start + 8, 4) not in (b"AIFF", b"AIFC"):
        return None
    block = 0
    for chunk in chunks(contents, AIFF, start + 12):
        if chunk.name == b"COMM":
            body = contents.at(chunk.body, 22)
            plain = chunk.size < 22 or body[18:22] in AIFF_PLAIN
            block = int.from_bytes(body[:2], "big") * -(-int.from_bytes(body[6:8], "big") // 8) if plain else 0
        elif chunk.name == b"SSND":
            break
    else:
        return None
    extent = data_extent(contents, AIFF, chunk.body, chunk.size)
    patches = [(chunk.place, min(extent.held, 0xFFFFFFFF).to_bytes(4, "big"))] if extent.held != chunk.size else []
    part = Part(start, chunk.body + extent.held if patches else extent.stop, patches=patches)
    return sound_part(part, extent.stop, chunk.size - 8, max(0, extent.held - 8), extent.cut, block)


def wave64(contents: Contents, start: int) -> Survey | None:
    """The Wave64 that begins at `start`; None where no sound can be found in it."""
    block = 0
    for chunk in chunks(contents, WAVE64, start + 40):
        if chunk.name == b"fmt ":
            body = contents.at(chunk.body, 26)
            coding = int.from_bytes(body[24:26] if body[:2] == b"\xfe\xff" else body[:2], "little")
            block = int.from_bytes(body[12:14], "little") if coding in (1, 3, 6, 7) else 0
        elif chunk.name == b"data":
            break
    else:
        return None
    declared = int.from_bytes(contents.at(chunk.place, 8), "little", signed=True) - WAVE64.counted
    extent = data_extent(contents, WAVE64, chunk.body, declared)
    size = (extent.held + WAVE64.counted).to_bytes(8, "little")
    part = Part(start, extent.stop)
    if extent.held != declared or extent.stop - chunk.body >= WAVE64.filled(declared + 1):
        part = Part(start, chunk.body + extent.held, patches=[(chunk.place, size)])  # libsndfile reads what is behind it too
    return sound_part(part, extent.stop, declared, extent.held, extent.cut, block)


def caf(contents: Contents, start: int) -> Survey | None:
    """The CAF that begins at `start`; None where no sound can be found in it."""
    block = 0
    for chunk in chunks(contents, CAF, start + 8):
        if chunk.name == b"desc":
            body = contents.at(chunk.body, 20)
            block = int.from_bytes(body[16:20], "big") if body[8:12] in (b"lpcm", b"ulaw", b"alaw") else 0
        elif chunk.name == b"data":
            break
    else:
        return None
    declared = int.from_bytes(contents.at(chunk.place, 8), "big", signed=True)
    extent = data_extent(contents, CAF, chunk.body, declared)
    patches = [(chunk.place, extent.held.to_bytes(8, "big"))] if extent.held != declared else []
    part = Part(start, chunk.body + extent.held if patches else extent.stop, patches=patches)
    return sound_part(part, extent.stop, declared - 4, max(0, extent.held - 4), extent.cut, block)


def au(contents: Contents, start: int) -> Survey | None:
    """The AU that begins at `start`."""
    head = contents.at(start, 24)
    if len(head) < 24:
        return None
    offset, declared, coding, _, channels = struct.unpack(">5I" if head[:1] == b"." else "<5I", head[4:])
    data = start + offset
    available = max(0, contents.size - data)
    held = available if declared in (0, AU_UNKNOWN) else min(declared, available)
    patches = [(start + 8, b"\xff" * 4)] if held != declared else []
    part = Part(start, data + held, patches=patches)
    cut = declared not in (0, AU_UNKNOWN) and held < declared
    return sound_part(part, data + held, declared, held, cut, AU_BYTES.get(coding, 0) * channels)


def sphere(contents: Contents, start: int) -> Survey | None:
    """The SPHERE file that begins at `start`; None where it does not say how long it is."""
    lines = contents.at(start, SPHERE_BYTES).split(b"\n")
    fields = {words[0]: words[2] for line in lines if len(words := line.split(None, 2)) == 3}
    try:
        size = int(lines[1])
        count, channels, width = (int(fields[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes"))
    except (IndexError, KeyError, ValueError):
        return None
    plain = fields.get(b"sample_coding", b"pcm") in (b"pcm", b"ulaw", b"alaw", b"mu-law")
    if not plain or min(size, count, channels, width) <= 0:
        return None
    declared = count * channels * width
    available = max(0, contents.size - start - size)
    held = min(declared, available)
    stop = start + size + held
    return sound_part(Part(start, stop), stop, declared, held, held < declared, channels * width)


def voc(contents: Contents, start: int) -> Survey | None:
    """The VOC that begins at `start`: blocks, each with its kind and its size, up to one of kind 0."""
    place = start + int.from_bytes(contents.at(start + 20, 2), "little")
    declared = held = 0
    while (kind := contents.at(place, 1)) > b"\0":
        size = int.from_bytes(contents.at(place + 1, 3), "little")
        if kind in VOC_SOUND:
            declared += size
            held += min(size, max(0, contents.size - place - 4))
        place += 4 + size
    stop = min(place + 1, contents.size)
    return sound_part(Part(start, stop), stop, declared, held, held < declared, 0)
