"""The protocol of entropy models: a packet of codes <-> bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mixcodec.registry import Registry
from mixcodec.tokens import ABSENT

Codes = NDArray[np.int64]
Counts = NDArray[np.int64]


class EntropyModel(ABC):
    """Knows how likely codes are, in whole numbers, and codes them accordingly.

    A packet is coded on its own: nothing is remembered from one to the next, so packets can be lost, sought and decoded in
    any order. In it codes go frame by frame, in a frame channel by channel, in a channel codebook by codebook. A frame may
    have fewer codes than others, the first ones: the places of the rest hold ABSENT.

    Attributes:
        kind: its name.
        number: what stands for it in a file, 0 to 255; never given to another kind.
        needs_tables: whether its constructor takes the `tables` of a model folder.
    """

    kind: ClassVar[str]
    number: ClassVar[int]
    needs_tables: ClassVar[bool] = False

    def __reduce__(self) -> tuple[type[EntropyModel], tuple[Any, ...]]:
        """Pickled and copied as what it is built from: the tables of constriction are made again where they are needed."""
        given = vars(self)["tables" if self.needs_tables else "size"]
        return type(self), (given,)

    @property
    def mark(self) -> int:
        """What a file says of the tables that it is coded with: 32 bits that change with them, 0 where there are none."""
        return 0

    @abstractmethod
    def encode(self, codes: Codes) -> bytes:
        """The bytes of a packet of codes (C, t, k), t >= 0, each in [0, size) or ABSENT.

        Raises:
            ValueError: a code out of range or absent where a finer one is there, or more codebooks than the model knows.
        """

    @abstractmethod
    def decode(self, data: bytes, counts: Counts, channels: int, codebooks: int) -> Codes:
        """The codes (C, t, k) of the packet `data`, `counts` (t,) of each frame and channel, 1 to k; ABSENT elsewhere.

        Raises:
            BitstreamError: `data` is not what `encode` makes of any codes of that shape.
            ValueError: more codebooks than the model knows.
        """

    def encode_packets(self, packets: Iterable[Codes]) -> list[bytes]:
        """`encode` of each packet."""
        return [self.encode(codes) for codes in packets]


ENTROPY_MODELS: Registry[EntropyModel] = Registry("entropy model")


def check_codes(codes: Codes, size: int) -> Counts:
    """The number of codes in each frame (t,) of a packet, the same in all channels.

    Raises:
        ValueError: they are not (C, t, k) whole numbers from 0 to size - 1, but for ABSENT at the end of frames.
    """
    if codes.ndim != 3 or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"a packet holds whole-numbered codes (C, t, k), not {codes.dtype} {codes.shape}")
    there = codes != ABSENT
    counts: Counts = there[:1].sum((0, 2))
    if not np.array_equal(there, np.broadcast_to(_places(counts, codes.shape[2]), there.shape)) or (counts < 1).any():
        raise ValueError("codes may be absent only at the end of a frame, in all channels alike")
    present = codes[there]
    if present.size and (present.min() < 0 or present.max() >= size):
        raise ValueError(f"codes must lie in 0..{size - 1}, not {present.min()}..{present.max()}")
    return counts


def in_order(codes: Codes) -> Codes:
    """The codes (C, t, k) that are not absent as one row, in the order in which they are coded."""
    row = codes.swapaxes(0, 1).reshape(-1)
    present: Codes = row[row != ABSENT]
    return present


def books_in_order(counts: Counts, channels: int, codebooks: int) -> list[int]:
    """For each code of a packet, in order, the number of its codebook."""
    places = np.repeat(_places(counts, codebooks)[:, None], channels, 1)
    return list(np.broadcast_to(np.arange(codebooks), places.shape)[places].tolist())


def from_order(symbols: Sequence[int], counts: Counts, channels: int, codebooks: int) -> Codes:
    """The inverse of `in_order`."""
    codes = np.full((len(counts), channels, codebooks), ABSENT)
    codes[np.repeat(_places(counts, codebooks)[:, None], channels, 1)] = symbols
    return np.ascontiguousarray(codes.swapaxes(0, 1))


def _places(counts: Counts, codebooks: int) -> NDArray[np.bool_]:
    """(t, k): where frames of `counts` (t,) codes have one."""
    return np.arange(codebooks) < counts[:, None]
