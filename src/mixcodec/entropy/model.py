"""The protocol of entropy models: a packet of codes <-> bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mixcodec.registry import Registry

Codes = NDArray[np.int64]


class EntropyModel(ABC):
    """Knows how likely codes are, in whole numbers, and codes them accordingly.

    A packet is coded on its own: nothing is remembered from one to the next, so packets can be lost, sought and decoded in
    any order. In it codes go frame by frame, in a frame channel by channel, in a channel codebook by codebook.

    Attributes:
        kind: its name.
        number: what stands for it in a file, 0 to 255; never given to another kind.
        needs_tables: whether its constructor takes the `tables` of a model folder.
    """

    kind: ClassVar[str]
    number: ClassVar[int]
    needs_tables: ClassVar[bool] = False

    @abstractmethod
    def encode(self, codes: Codes) -> bytes:
        """The bytes of a packet of codes (C, t, k), t >= 0, each in [0, size).

        Raises:
            ValueError: a code out of range, or more codebooks than the model knows.
        """

    @abstractmethod
    def decode(self, data: bytes, frames: int, channels: int, codebooks: int) -> Codes:
        """The codes (C, t, k) of the packet `data`.

        Raises:
            BitstreamError: `data` is not what `encode` makes of any codes of that shape.
            ValueError: more codebooks than the model knows.
        """

    def encode_packets(self, packets: Iterable[Codes]) -> list[bytes]:
        """`encode` of each packet."""
        return [self.encode(codes) for codes in packets]

    def decode_packets(self, packets: Iterable[bytes], frames: Sequence[int], channels: int, codebooks: int) -> list[Codes]:
        """`decode` of each packet, `frames` being theirs.

        Raises:
            BitstreamError: a packet is damaged; its index, from 0, is in the message.
        """
        return [self.decode(data, count, channels, codebooks) for data, count in zip(packets, frames, strict=True)]


ENTROPY_MODELS: Registry[EntropyModel] = Registry("entropy model")


def check_codes(codes: Codes, size: int) -> None:
    """Raises ValueError unless `codes` are (C, t, k) whole numbers from 0 to size - 1."""
    if codes.ndim != 3 or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"a packet holds whole-numbered codes (C, t, k), not {codes.dtype} {codes.shape}")
    if codes.size and (codes.min() < 0 or codes.max() >= size):
        raise ValueError(f"codes must lie in 0..{size - 1}, not {codes.min()}..{codes.max()}")


def in_order(codes: Codes) -> Codes:
    """Codes (C, t, k) as one row, in the order in which they are coded."""
    return codes.swapaxes(0, 1).reshape(-1)


def from_order(symbols: Sequence[int], frames: int, channels: int, codebooks: int) -> Codes:
    """The inverse of `in_order`."""
    return np.array(symbols, np.int64).reshape(frames, channels, codebooks).swapaxes(0, 1).copy()
