"""Small tables of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(rows: Iterable[Sequence[object]]) -> str:
    """Rows of cells, each column as wide as its widest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def real_kbps(file_bytes: int, seconds: float) -> str:
    """The bitrate that a file's very bytes amount to, header and all."""
    return f"{file_bytes * 8 / seconds / 1000:.3f} kbps" if seconds else "no audio"
