"""Counts that grow as the packet goes on: for signals that the learned tables never heard of, and for silence.

A code is either one that its codebook has already used in this packet, or a new one; a flag says which. A known code is
coded by the counts of the known ones, a new one costs log2(size) bits (partial string matching of order 0: Cleary and
Witten 1984, "Data Compression Using Adaptive Coding and Partial String Matching"). The usual estimates take a new code for
a rarity; in a packet of some 64 frames and 1024 codes it is the rule, so the flag has counts of its own: after h known and
m new codes the next one is known with probability (h + 1) / (h + m + 2) (the rule of succession of Laplace).

Codes that never repeat cost about log2(frames) bits a codebook and packet more than uniform ones, codes that always repeat
next to nothing. All channels share the counts of a codebook.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from mixcodec.entropy.coder import Model, SymbolReader, frequencies_to_model, symbols_to_bytes, weights_to_frequencies
from mixcodec.entropy.model import (
    ENTROPY_MODELS,
    Codes,
    Counts,
    EntropyModel,
    books_in_order,
    check_codes,
    from_order,
    in_order,
)
from mixcodec.errors import BitstreamError

MAX_COUNT = 1 << 12
"""A codebook that has seen so many codes in one packet counts no further: a table for every code would take long."""


@ENTROPY_MODELS.register("adaptive")
class Adaptive(EntropyModel):
    """Learns how likely codes are from those before them in the packet; knows nothing beforehand.

    Args:
        size: codes in a codebook.
    """

    kind = "adaptive"
    number = 2

    def __init__(self, size: int) -> None:
        self.size = size
        self._fresh = frequencies_to_model(weights_to_frequencies(np.ones(size, np.int64)))

    def encode(self, codes: Codes) -> bytes:
        counts = check_codes(codes, self.size)
        books = [_Seen(self._fresh) for _ in range(codes.shape[2])]
        symbols: list[int] = []
        models: list[Model] = []
        for book, code in zip(books_in_order(counts, len(codes), len(books)), in_order(codes).tolist(), strict=True):
            for symbol, model in books[book].push(code):
                symbols.append(symbol)
                models.append(model)
        return symbols_to_bytes(symbols, models)

    def decode(self, data: bytes, counts: Counts, channels: int, codebooks: int) -> Codes:
        reader = SymbolReader(data)
        books = [_Seen(self._fresh) for _ in range(codebooks)]
        symbols = [books[book].take(reader.take) for book in books_in_order(counts, channels, codebooks)]
        reader.finish()
        return from_order(symbols, counts, channels, codebooks)


class _Seen:
    """What one codebook has used so far; `codes` in the order of their first use, `counts` how often."""

    def __init__(self, fresh: Model) -> None:
        self._fresh = fresh
        self._codes: list[int] = []
        self._counts: list[int] = []
        self._places: dict[int, int] = {}
        self._hits = self._misses = 0
        self._model: Model | None = None

    def push(self, code: int) -> list[tuple[int, Model]]:
        """The symbols that spell `code`, each with its model."""
        place = self._places.get(code)
        parts: list[tuple[int, Model]] = []
        if self._codes:
            parts.append((int(place is not None), _flag(self._hits, self._misses)))
        if place is None:
            parts.append((code, self._fresh))
        elif len(self._codes) > 1:
            parts.append((place, self._known()))
        self._count(place, code)
        return parts

    def take(self, read: Callable[[Model], int]) -> int:
        """The next code, its symbols taken with `read`.

        Raises:
            BitstreamError: they are not what `push` makes of it.
        """
        place: int | None = None
        if self._codes and read(_flag(self._hits, self._misses)):
            place = read(self._known()) if len(self._codes) > 1 else 0
        code = read(self._fresh) if place is None else self._codes[place]
        if place is None and code in self._places:
            raise BitstreamError("a packet of codes spells a known code as a new one")
        self._count(place, code)
        return code

    def _known(self) -> Model:
        if self._model is None:
            self._model = frequencies_to_model(weights_to_frequencies(np.array(self._counts, np.int64)))
        return self._model

    def _count(self, place: int | None, code: int) -> None:
        if self._hits + self._misses >= MAX_COUNT:
            return
        self._model = None
        if place is None:
            self._misses += 1
            self._places[code] = len(self._codes)
            self._codes.append(code)
            self._counts.append(1)
        else:
            self._hits += 1
            self._counts[place] += 1


@lru_cache(maxsize=1 << 13)
def _flag(hits: int, misses: int) -> Model:
    return frequencies_to_model(weights_to_frequencies(np.array([misses + 1, hits + 1])))
