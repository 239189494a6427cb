"""Running the programs of classical codecs, and reading what is theirs in an Ogg file."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 900


class ProgramError(RuntimeError):
    """A program that failed on a clip; the message is its own last line."""


def run(*command: object) -> str:
    """Run a program without a shell; what it wrote to both outputs.

    Raises:
        ProgramError: it failed, or took longer than a quarter of an hour.
    """
    words = [str(part) for part in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise ProgramError(f"{words[0]} did not end within {TIMEOUT_SECONDS} s") from None
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode:
        raise ProgramError(f"{words[0]} failed with status {done.returncode}: {said.splitlines()[-1] if said else 'no word'}")
    return said


def first_line(*command: object) -> str:
    """The first line that a program says of itself, such as its version, whatever its status."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True)
    lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
    return lines[0].strip() if lines else ""


def ogg_packet_bytes(path: Path) -> list[int]:
    """The sizes of the packets in an Ogg file of one logical stream (RFC 3533)."""
    data = path.read_bytes()
    sizes, size, place = [], 0, 0
    while place < len(data):
        if data[place : place + 4] != b"OggS":
            raise ProgramError(f"no Ogg page at byte {place} of the coded file")
        lacing = data[place + 27 : place + 27 + data[place + 26]]
        for value in lacing:
            size += value
            if value < 255:
                sizes.append(size)
                size = 0
        place += 27 + len(lacing) + sum(lacing)
    return sizes


OGG_HEADER_PACKETS = 2
"""An identification and a comment packet come first, in Opus (RFC 7845) and in Speex."""
