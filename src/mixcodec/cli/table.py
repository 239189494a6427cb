"""Small tables of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mixcodec.errors import UsageError

if TYPE_CHECKING:
    from mixcodec.bitstream import Header


def columns(rows: Iterable[Sequence[object]]) -> str:
    """Rows of cells, each column as wide as its widest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def real_kbps(file_bytes: int, seconds: float) -> str:
    """The bitrate that a file's very bytes amount to, header and all."""
    return f"{file_bytes * 8 / seconds / 1000:.3f} kbps" if seconds else "no audio"


def codes_per_frame(header: Header) -> str:
    """How many codes a frame usually has: a mixed number where some have one more."""
    return f"{header.codebooks + header.more / header.packet_frames:.4g}"


def key_values(pairs: Iterable[str]) -> dict[str, str]:
    """The dict that words KEY=VALUE spell. Raises UsageError for a word without = or key, or a key that comes twice."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals or key in found:
            raise UsageError(f"metadata {pair!r}: give KEY=VALUE, each key once")
        found[key] = value
    return found
