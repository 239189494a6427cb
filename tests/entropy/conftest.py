"""Small tables that no learning made, so that the bytes coded with them can be frozen."""

import numpy as np
import pytest

from mixcodec.entropy import ENTROPY_MODELS, Tables
from mixcodec.entropy.tables import BookTables, Context

SIZE = 5


def context(back: int, book: int, classes: int, size: int = SIZE) -> Context:
    levels = (np.arange(classes * 16).reshape(classes, 16) * 37 % 301 - 150).astype(np.int16)
    picks = (np.arange(classes * size).reshape(classes, size) * 7 % 16).astype(np.uint8)
    return Context(back, book, (np.arange(size + 1) * 3 % classes).astype(np.uint8), levels, picks)


def tables(size: int = SIZE) -> Tables:
    """Three codebooks: the first looks back at itself and at a finer one, the last at three codes."""
    base = (np.arange(size) * 11 % 40).astype(np.uint8)
    return Tables(
        size,
        (
            BookTables(base, (context(1, 0, 3, size), context(1, 1, 2, size))),
            BookTables(base[::-1].copy(), (context(0, 0, 4, size),)),
            BookTables(base, (context(0, 1, 2, size), context(0, 0, 3, size), context(1, 2, 2, size))),
        ),
    )


@pytest.fixture(scope="session")
def make_context():
    """`make_context(back, book, classes, size)`."""
    return context


@pytest.fixture(scope="session")
def make_tables():
    """`make_tables(size)`: 5 codes in a codebook, if nothing else is said."""
    return tables


@pytest.fixture(scope="session")
def build():
    """`build(kind, tables)`: the entropy model of that kind."""

    def build(kind, held=None):
        held = held or tables()
        return ENTROPY_MODELS.build(kind, size=held.size, tables=held)

    return build
