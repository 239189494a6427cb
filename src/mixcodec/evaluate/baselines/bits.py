"""Codes as bits: every code costs exactly its bits, most significant bit first, without gaps between codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def packed_bytes(count: int, bits: int) -> int:
    """The bytes that `count` codes of `bits` bits take; the last byte is filled up with zero bits."""
    return -(-count * bits // 8)


def pack(codes: NDArray[Any], bits: int) -> bytes:
    """Pack non-negative codes (any shape, in C order), each below 2**bits, 1 <= bits <= 16."""
    pairs = np.ascontiguousarray(codes, dtype=">u2").reshape(-1, 1).view(np.uint8)
    return np.packbits(np.unpackbits(pairs, axis=1)[:, 16 - bits :]).tobytes()


def unpack(data: bytes, count: int, bits: int) -> NDArray[np.int64]:
    """The `count` codes that `pack` made into `data`, as (count,) integers.

    Raises:
        ValueError: `data` has another length than `count` codes take, or its filling bits are not zero.
    """
    if len(data) != packed_bytes(count, bits):
        raise ValueError(f"{count} codes of {bits} bits take {packed_bytes(count, bits)} bytes, not {len(data)}")
    flat = np.unpackbits(np.frombuffer(data, np.uint8))
    if flat[count * bits :].any():
        raise ValueError("the filling bits of the last byte are not zero")
    wide = np.zeros((count, 16), np.uint8)
    wide[:, 16 - bits :] = flat[: count * bits].reshape(count, bits)
    return np.packbits(wide, axis=1).view(">u2").reshape(-1).astype(np.int64)
