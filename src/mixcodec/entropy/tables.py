"""The learned tables of a model folder: `entropy.bin`.

A codebook's table is a base distribution, bent by a factor for each context (a product of experts: Hinton 2002, "Training
Products of Experts by Minimizing Contrastive Divergence"). A context is one earlier code: `back` frames ago (0 or 1), of
codebook `book`. Its values fall into a few classes, each with a row of factors, one for each code. Kept as logarithms, the
factors add up, so that n x m tables cost the room of n + m:

    log2 weight(code) = -base[code] / 16 + sum over contexts of levels[class][picks[class][code]] / 64

The file, all numbers unsigned and little-endian where nothing else is said:

| bytes | what |
| --- | --- |
| 3 | magic, ASCII `mxe` |
| 1 | version, 1 |
| 4 | codebook size, 2 to 65 536 |
| 1 | number of codebooks, 1 to 64; then for each of them: |
| size | base, in 1/16 octave below the likeliest code |
| 1 | number of contexts, 0 to 4; then for each of them: |
| 1 | back: 0, a code of the same frame, or 1, of the frame before |
| 1 | book, from 0; where back is 0, a coarser one than this |
| 1 | number of classes n, 1 to 255 |
| size + 1 | the class of each code, and at the end that of a code that is not there; each below n |
| n times 32 | the 16 levels of each class, signed 16-bit, in 1/64 octave |
| n times ceil(size / 2) | for each class and code which of the levels, 4 bits; the first code in the high half of a byte |
| 4 | at the very end: CRC-32 of all bytes before it |

A filling half byte is zero. A code is not there in the first frame of a packet (where back is 1), and where the file holds
fewer codebooks than the model has. There are at most 4 096 combinations of classes for a codebook, and 300 000 bytes in all.

From logarithms to frequencies, in integers: let x be the sum above in 1/64 octave and q how far it lies below the largest x
of the table. The weight is 0 where q >= 1984, and else floor(2^(30 - (q mod 64) / 64)) shifted right by q div 64. Of the 2^24
that the frequencies add up to, each code has 1 and floor(weight (2^24 - size) / sum of weights); what is left goes to the
first code of the largest weight.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixcodec.entropy.coder import Frequencies, weights_to_frequencies
from mixcodec.errors import ModelError

ENTROPY = "entropy.bin"
MAGIC = b"mxe"
VERSION = 1
MAX_BYTES = 300_000
MAX_SIZE = 1 << 16
MAX_BOOKS = 64
MAX_CONTEXTS = 4
MAX_COMBINATIONS = 1 << 12
LEVELS = 16
STEPS = 64
"""Steps of an octave in which logarithms are added."""

BASE_STEPS = 16
"""Steps of an octave in which the base distribution is kept."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Context:
    """What one earlier code tells about the next one.

    Attributes:
        back: 0 for a code of the same frame, 1 for one of the frame before.
        book: its codebook.
        classes: (size + 1,) the class of each code; the last entry is for a code that is not there.
        levels: (n, 16) int16, log2 factors in 1/64 octave.
        picks: (n, size), which of its class's levels each code takes.
    """

    back: int
    book: int
    classes: Bytes
    levels: NDArray[np.int16]
    picks: Bytes

    def factors(self) -> NDArray[np.int32]:
        """(n, size) log2 factors in 1/64 octave."""
        return self.levels.astype(np.int32)[np.arange(len(self.levels))[:, None], self.picks]


@dataclass(frozen=True, eq=False)
class BookTables:
    """The tables of one codebook: `base` (size,) in 1/16 octave below the likeliest code, and the contexts that bend it."""

    base: Bytes
    contexts: tuple[Context, ...]

    @property
    def combinations(self) -> int:
        """How many tables there are: the product of the contexts' numbers of classes."""
        return math.prod(len(context.levels) for context in self.contexts)


@dataclass(frozen=True, eq=False)
class Tables:
    """All that `entropy.bin` holds."""

    size: int
    books: tuple[BookTables, ...]

    @cached_property
    def fingerprint(self) -> int:
        """32 bits that change with the tables: the file's own CRC."""
        return zlib.crc32(self._body())

    def to_bytes(self) -> bytes:
        """The file.

        Raises:
            ModelError: it would be too large.
        """
        body = self._body()
        if len(body) + 4 > MAX_BYTES:
            raise ModelError(f"entropy tables take {len(body) + 4} bytes; at most {MAX_BYTES} are allowed")
        return body + zlib.crc32(body).to_bytes(4, "little")

    def _body(self) -> bytes:
        parts = [MAGIC, bytes([VERSION]), self.size.to_bytes(4, "little"), bytes([len(self.books)])]
        for book in self.books:
            parts += [book.base.tobytes(), bytes([len(book.contexts)])]
            for context in book.contexts:
                parts += [bytes([context.back, context.book, len(context.levels)]), context.classes.tobytes()]
                parts += [context.levels.astype("<i2").tobytes(), _pack(context.picks).tobytes()]
        return b"".join(parts)


def context_bytes(size: int, classes: int) -> int:
    """What a context of so many classes takes in the file."""
    return 3 + size + 1 + classes * (2 * LEVELS + (size + 1) // 2)


def read_tables(path: Path) -> Tables:
    """Read an `entropy.bin`.

    Raises:
        ModelError: it cannot be read, or is malformed in any way.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); export the model again") from None
    return bytes_to_tables(data, str(path))


def bytes_to_tables(data: bytes, name: str = ENTROPY) -> Tables:
    """The tables in the bytes of an `entropy.bin`; `name` is what messages call it.

    Raises:
        ModelError: it is malformed in any way.
    """
    advice = "export the model again"
    if len(data) > MAX_BYTES:
        raise ModelError(f"{name}: is larger than {MAX_BYTES} bytes; {advice}")
    if data[:3] != MAGIC:
        raise ModelError(f"{name}: is no file of entropy tables; {advice}")
    if len(data) > 3 and data[3] > VERSION:
        raise ModelError(f"{name}: is of the newer version {data[3]}; upgrade mixcodec")
    if data[-4:] != zlib.crc32(data[:-4]).to_bytes(4, "little"):
        raise ModelError(f"{name}: is damaged or cut short (its checksum does not match); {advice}")
    try:
        return _Reader(data[:-4]).tables()
    except ValueError as error:
        raise ModelError(f"{name}: {error}; {advice}") from None


class _Reader:
    """Parses the body of a file; a ValueError says what is wrong with it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 3

    def tables(self) -> Tables:
        self._number("version", 1, VERSION, VERSION)
        size = self._number("codebook size", 4, 2, MAX_SIZE)
        count = self._number("number of codebooks", 1, 1, MAX_BOOKS)
        tables = Tables(size, tuple(self._book(size, count, index) for index in range(count)))
        if self._position != len(self._data):
            raise ValueError(f"has {len(self._data) - self._position} bytes to spare")
        return tables

    def _book(self, size: int, books: int, index: int) -> BookTables:
        base = self._array(size)
        contexts = [self._context(size, books, index) for _ in range(self._number("number of contexts", 1, 0, MAX_CONTEXTS))]
        book = BookTables(base, tuple(contexts))
        if book.combinations > MAX_COMBINATIONS:
            raise ValueError(f"has {book.combinations} combinations of classes; at most {MAX_COMBINATIONS} are allowed")
        return book

    def _context(self, size: int, books: int, index: int) -> Context:
        back = self._number("back", 1, 0, 1)
        book = self._number("book of a context", 1, 0, books - 1 if back else index - 1)
        count = self._number("number of classes", 1, 1, 255)
        classes = self._array(size + 1)
        if classes.max() >= count:
            raise ValueError(f"has the class {classes.max()} of {count}")
        levels = self._array(2 * LEVELS * count).view("<i2").astype(np.int16).reshape(count, LEVELS)
        packed = self._array(count * ((size + 1) // 2)).reshape(count, -1)
        picks = np.stack([packed >> 4, packed & 15], axis=2).reshape(count, -1)
        if picks[:, size:].any():
            raise ValueError("has a filling half byte that is not zero")
        return Context(back, book, classes, levels, picks[:, :size].copy())

    def _array(self, count: int) -> Bytes:
        start, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise ValueError("is cut short")
        return np.frombuffer(self._data, np.uint8, count, start)

    def _number(self, what: str, width: int, least: int, most: int) -> int:
        value = int.from_bytes(self._array(width).tobytes(), "little")
        if not least <= value <= most:
            raise ValueError(f"has the impossible {what} {value}")
        return value


def _pack(picks: Bytes) -> Bytes:
    even = np.pad(picks, ((0, 0), (0, picks.shape[1] % 2)))
    return np.asarray(even[:, ::2] << 4 | even[:, 1::2], np.uint8)


@cache
def _weights() -> NDArray[np.int64]:
    """The weight of a code q/64 octaves below the likeliest, for q = 0 ... 31 * 64.

    POWERS[i] is the 64th root of 2^(1920 - i), rounded down: six whole-numbered square roots.
    """
    powers = []
    for i in range(STEPS):
        power = 1 << (30 * STEPS - i)
        for _ in range(STEPS.bit_length() - 1):
            power = math.isqrt(power)
        powers.append(power)
    return np.array([powers[q % STEPS] >> q // STEPS for q in range(31 * STEPS + 1)], np.int64)


def logarithms_to_frequencies(x: NDArray[np.int32]) -> Frequencies:
    """The frequencies (size,) of weights whose log2 is `x` / 64, up to a constant."""
    return weights_to_frequencies(_weights().take(x.max() - x, mode="clip"))
