"""What a sound file says of itself, read from its own bytes: how long it is, and where one file ends and another begins.

libsndfile believes headers: of joined files it reads the first, of a wav whose size was never filled in nothing, of a damaged
Ogg file what is left, each without a word. So a file is surveyed before it is read: `survey` gives the parts to read, what each
must come to, and what is to be said.
"""

from __future__ import annotations

from collections.abc import Callable

from mixcodec.contents import Contents
from mixcodec.formats.survey import MAX_PARTS, Damage, Part, Survey, harmless

PLAIN = {b"FORM": "aiff", b"riff": "wave64", b"caff": "caf", b".snd": "au", b"dns.": "au", b"NIST": "sphere", b"Crea": "voc"}

__all__ = ["Damage", "Part", "Survey", "survey"]


def survey(contents: Contents, quick: bool = False) -> Survey:
    """The parts of a sound file, in order, each a sound file of its own; nearly always one.

    A file of a format that is not known here is one part. `quick` leaves out what takes reading all of a file: checksums, and
    files that are joined to a FLAC.

    Raises:
        Damage: sound is missing in the middle.
    """
    whole = Survey([], [], 0)
    while whole.stop < contents.size and len(whole.parts) < MAX_PARTS:
        found = _surveyed(contents, whole.stop, quick)
        if found is None:
            break
        whole.parts += found.parts
        whole.notes += found.notes
        whole.stop = harmless(contents, found.stop)
    left = contents.size - whole.stop
    if not whole.parts:
        return Survey([Part(0, contents.size)], [], contents.size)
    if left:
        whole.notes.append(f"holds {left} bytes behind the end of its sound, which are not read")
    return whole


def _surveyed(contents: Contents, start: int, quick: bool) -> Survey | None:
    """The sound file that begins at `start` of a larger one, and maybe some that follow; None where none is known to begin."""
    magic = contents.at(start, 16)
    if magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        from mixcodec.formats import riff

        return riff.survey(contents, start)
    if magic[:4] in PLAIN:
        from mixcodec.formats import plain

        reader: Callable[[Contents, int], Survey | None] = getattr(plain, PLAIN[magic[:4]])
        return reader(contents, start)
    if magic[:4] == b"fLaC":
        from mixcodec.formats import flac

        return flac.survey(contents, start, quick=quick)
    if magic[:4] == b"OggS":
        from mixcodec.formats import ogg

        return ogg.survey(contents, start, quick)
    if magic[:3] == b"ID3" or (magic[:1] == b"\xff" and len(magic) > 1 and magic[1] >= 0xE0):
        from mixcodec.formats import flac, mpeg

        behind = harmless(contents, start)
        if magic[:3] == b"ID3" and contents.at(behind, 4) == b"fLaC":  # not where the tag belongs, but some put it there
            return flac.survey(contents, behind, start, quick)
        return mpeg.survey(contents, start)
    return None
