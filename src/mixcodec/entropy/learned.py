"""Codes coded with the learned tables of a model: without contexts, and with them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mixcodec.entropy.coder import Frequencies, Model, SymbolReader, frequencies_to_model, symbols_to_bytes
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
from mixcodec.entropy.tables import BASE_STEPS, STEPS, BookTables, Tables, logarithms_to_frequencies
from mixcodec.tokens import ABSENT


class _Learned(EntropyModel):
    """What both have in common. A combination of classes is a number: its table is made when it is first needed."""

    needs_tables = True
    contextual: ClassVar[bool]

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        count = len(tables.books)
        self._books = [_Book(book if self.contextual else BookTables(book.base, ()), count) for book in tables.books]

    @property
    def mark(self) -> int:
        return self.tables.fingerprint

    def frequencies(self, book: int, combination: int = 0) -> Frequencies:
        """The table of `book` for a combination of classes (the last context's class counts fastest)."""
        return self._books[book].frequencies(combination)

    def combinations(self, codes: Codes) -> NDArray[np.int64]:
        """Which table each of the codes (C, t, k) is coded with; ABSENT where there is no code."""
        channels, frames, count = codes.shape
        absent = np.full((channels, frames, len(self._books)), self.tables.size)
        same, before = absent.copy(), absent
        same[..., :count] = np.where(codes == ABSENT, self.tables.size, codes)
        before[:, 1:] = same[:, :-1]
        found = np.zeros(codes.shape, np.int64)
        for index, book in enumerate(self._books[:count]):
            for context, offsets in zip(book.tables.contexts, book.offsets, strict=True):
                found[..., index] += offsets[(before if context.back else same)[..., context.book]]
        return np.where(codes == ABSENT, ABSENT, found)

    def encode(self, codes: Codes) -> bytes:
        counts = check_codes(codes, self.tables.size)
        books = self._first_books(codes.shape[2])
        found = in_order(self.combinations(codes)).tolist()
        order = books_in_order(counts, len(codes), len(books))
        pairs = [(books[book], combination) for book, combination in zip(order, found, strict=True)]
        models = [book.models[combination] or book.model(combination) for book, combination in pairs]
        return symbols_to_bytes(in_order(codes).tolist(), models)

    def decode(self, data: bytes, counts: Counts, channels: int, codebooks: int) -> Codes:
        books = self._first_books(codebooks)
        reader = SymbolReader(data)
        take, absent = reader.take, [self.tables.size] * len(self._books)
        before = [absent] * channels
        symbols: list[int] = []
        for count in counts.tolist():
            for channel in range(channels):
                earlier = before[channel].copy()  # all books of the frame before, then those of this frame
                for book in books[:count]:
                    combination = 0
                    for place, offsets in book.places:
                        combination += offsets[earlier[place]]
                    earlier.append(take(book.models[combination] or book.model(combination)))
                codes = earlier[len(absent) :]
                symbols += codes
                before[channel] = codes + absent[count:]
        reader.finish()
        return from_order(symbols, counts, channels, codebooks)

    def _first_books(self, count: int) -> list[_Book]:
        if not 1 <= count <= len(self._books):
            raise ValueError(f"there are tables for 1 to {len(self._books)} codebooks, not for {count}")
        return self._books[:count]


class _Book:
    """The tables of one codebook of so many `books`, expanded as they are needed.

    Attributes:
        tables: as the model folder has them.
        models: for each combination of classes its table, or None.
        offsets: for each context what each of its codes adds to the number of the combination.
        places: the same as lists, each with where `decode` keeps the code.
    """

    def __init__(self, tables: BookTables, books: int) -> None:
        self.tables = tables
        self.models: list[Model] = [None] * tables.combinations
        self.offsets: list[NDArray[np.int64]] = []
        stride = tables.combinations
        for context in tables.contexts:
            stride //= len(context.levels)
            self.offsets.append(context.classes.astype(np.int64) * stride)
        positions = [context.book + (0 if context.back else books) for context in tables.contexts]
        self.places = [(position, offsets.tolist()) for position, offsets in zip(positions, self.offsets, strict=True)]
        self._base = tables.base.astype(np.int32) * -(STEPS // BASE_STEPS)
        self._factors = [context.factors() for context in tables.contexts]

    def frequencies(self, combination: int) -> Frequencies:
        x = self._base.copy()
        for factors in reversed(self._factors):
            combination, row = divmod(combination, len(factors))
            x += factors[row]
        return logarithms_to_frequencies(x)

    def model(self, combination: int) -> Model:
        model = self.models[combination]
        if model is None:
            model = self.models[combination] = frequencies_to_model(self.frequencies(combination))
        return model


@ENTROPY_MODELS.register("static")
class Static(_Learned):
    """Each codebook has one table, that of its codes in the training data.

    Args:
        tables: of the model that made the codes.
    """

    kind = "static"
    number = 3
    contextual = False


@ENTROPY_MODELS.register("context")
class ContextTables(_Learned):
    """A code's table depends on coarser codes of the same frame and on codes of the frame before.

    Args:
        tables: of the model that made the codes.
    """

    kind = "context"
    number = 4
    contextual = True
