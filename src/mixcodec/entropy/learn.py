"""Codes of a corpus -> entropy tables.

For each codebook: the values of each context are sorted into classes whose next codes are distributed alike (Dhillon, Mallela
and Kumar 2003, "A Divisive Information-Theoretic Feature Clustering Algorithm for Text Classification"); the factors of the
classes are fitted so that the product of experts has the mean counts of the corpus (generalized iterative scaling: Darroch
and Ratcliff 1972, "Generalized Iterative Scaling for Log-Linear Models"). The factors end up on 16 levels a class (Lloyd 1982,
"Least Squares Quantization in PCM").

Floats are at home here: what comes out are whole numbers, and only those decide how a code is coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixcodec.entropy.tables import (
    BASE_STEPS,
    LEVELS,
    MAX_BYTES,
    STEPS,
    BookTables,
    Context,
    Tables,
    context_bytes,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PACKET_FRAMES = 64
"""Every so many frames the frame before is taken away, as it is at the start of a packet."""

MAX_LEARNABLE_SIZE = 1 << 12
"""Larger codebooks get no contexts: a row of factors each would not fit into the file."""

PRIOR_COUNT = 100.0
"""How many codes of the base distribution every class has seen beforehand: rare classes stay close to it."""

CLUSTERINGS, SCALINGS, LLOYDS = 12, 40, 12


@dataclass(frozen=True)
class Source:
    """One earlier code that a codebook looks at: `back` frames ago, of codebook `book`, sorted into `classes` classes."""

    back: int
    book: int
    classes: int


def sources(book: int, books: int) -> list[Source]:
    """What `book` looks at: on speech the coarsest codes of this frame and of the one before tell the most, about finer
    codebooks too (more than their own code before, or the next coarser one). More classes than these cost time and bytes
    and gain nothing on voices that were not learned from."""
    chosen = {
        0: [Source(1, 0, 64), Source(1, 1, 12)],
        1: [Source(0, 0, 32), Source(1, 0, 16)],
        2: [Source(0, 0, 8), Source(0, 1, 4), Source(1, 0, 8)],
    }.get(book, [Source(0, 0, 6), Source(0, 1, 3), Source(1, 0, 4)])
    return [source for source in chosen if source.book < books]


def learn_tables(clips: Sequence[NDArray[np.integer]], size: int) -> Tables:
    """The tables of a model, from the codes (T, K) of many clips; `size` is that of its codebooks.

    Takes some 5 s for a million frames of 8 codebooks. The same codes give the same tables on the same machine.

    Raises:
        ValueError: there is no code to learn from, or one is out of range.
    """
    clips = [np.asarray(clip, np.int64) for clip in clips if len(clip)]
    if not clips or any(clip.ndim != 2 or clip.shape[1] != clips[0].shape[1] for clip in clips):
        raise ValueError("entropy tables are learned from codes (T, K), at least one, of the same K everywhere")
    same = np.concatenate(clips)
    if same.min() < 0 or same.max() >= size:
        raise ValueError(f"codes must lie in 0..{size - 1}, not {same.min()}..{same.max()}")
    before = np.full_like(same, size)
    before[1:] = same[:-1]
    before[np.concatenate([np.arange(len(clip)) for clip in clips]) % PACKET_FRAMES == 0] = size
    books = same.shape[1]
    return Tables(size, tuple(_learn_book(same, before, size, k, chosen) for k, chosen in enumerate(_plan(size, books))))


def _plan(size: int, books: int) -> list[list[Source]]:
    """The sources of each book, with as many classes as there is room for."""
    wanted = [sources(book, books) for book in range(books)]
    if size > MAX_LEARNABLE_SIZE:
        return [[] for _ in wanted]
    for percent in range(100, 0, -4):
        plan = [[Source(s.back, s.book, min(size, max(2, s.classes * percent // 100))) for s in chosen] for chosen in wanted]
        if sum(size + 1 + sum(context_bytes(size, s.classes) for s in chosen) for chosen in plan) + 13 <= MAX_BYTES:
            return plan
    return [[] for _ in wanted]


def _learn_book(same: Ints, before: Ints, size: int, book: int, chosen: Sequence[Source]) -> BookTables:
    codes = same[:, book]
    log_base = np.log(np.bincount(codes, minlength=size) + 1.0)
    below = (log_base.max() - log_base) / np.log(2) * BASE_STEPS
    base = np.minimum(np.rint(below), 255).astype(np.uint8)
    if not chosen:
        return BookTables(base, ())
    log_base -= np.log(np.exp(log_base).sum())
    seen = [(before if source.back else same)[:, source.book] for source in chosen]
    if any(source.back and source.book > book for source in chosen):  # a lower rate lacks them: learn that from some frames
        seen = [
            np.concatenate([values, np.full_like(values[::8], size) if source.back and source.book > book else values[::8]])
            for source, values in zip(chosen, seen, strict=True)
        ]
        codes = np.concatenate([codes, codes[::8]])
    experts = _Experts(codes, seen, [source.classes for source in chosen], log_base)
    experts.fit()
    contexts = []
    for source, labels, factors in zip(chosen, experts.labels, experts.factors, strict=True):
        levels, picks = _to_levels(factors / np.log(2) * STEPS, np.exp(factors + log_base))
        contexts.append(Context(source.back, source.book, labels.astype(np.uint8), levels, picks))
    return BookTables(base, tuple(contexts))


class _Experts:
    """A product of experts under construction.

    Attributes:
        labels: for each context the class of each of its values.
        factors: for each context (classes, size) natural logarithms.
    """

    def __init__(self, codes: Ints, seen: list[Ints], counts: list[int], log_base: Floats) -> None:
        self._codes, self._seen, self._shape, self._log_base = codes, seen, tuple(counts), log_base
        size = self._size = len(log_base)
        self.labels = [_cluster(_table(v, codes, size + 1, size), n, log_base) for v, n in zip(seen, counts, strict=True)]
        self.factors = [np.zeros((count, self._size)) for count in counts]

    def fit(self) -> None:
        """Fits the factors to the classes."""
        classes = tuple(labels[values] for labels, values in zip(self.labels, self._seen, strict=True))
        flat = np.ravel_multi_index(classes, self._shape)
        weight = np.bincount(flat, minlength=int(np.prod(self._shape))).reshape(self._shape)
        prior = np.exp(self._log_base) * PRIOR_COUNT
        observed = [_table(mine, self._codes, n, self._size) + prior for mine, n in zip(classes, self._shape, strict=True)]
        for _ in range(SCALINGS):
            table = np.exp(self._logarithms())
            table *= (weight / table.sum(-1))[..., None]
            for axis, (factors, goal) in enumerate(zip(self.factors, observed, strict=True)):
                others = tuple(other for other in range(len(self._shape)) if other != axis)
                factors += np.log(goal / (table.sum(others) + prior)) / len(self._shape)

    def _logarithms(self) -> Floats:
        """(*classes of each context, size), not normalized."""
        total = self._log_base
        for axis, factors in enumerate(self.factors):
            total = total + factors.reshape([-1 if other == axis else 1 for other in range(len(self._shape))] + [self._size])
        return total


def _table(rows: Ints, columns: Ints, height: int, width: int) -> Floats:
    """(height, width): how often each pair occurs."""
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width).astype(np.float64)


def _cluster(pairs: Floats, count: int, log_base: Floats) -> Ints:
    """The class of each row of counts `pairs`: those with similar distributions of the columns share one."""
    random = np.random.default_rng(0)
    totals = pairs.sum(1)
    likely = (totals + 1e-9) / (totals + 1e-9).sum()
    centres = pairs[random.choice(len(pairs), count, replace=False, p=likely)]
    labels = np.zeros(len(pairs), np.int64)
    for _ in range(CLUSTERINGS):
        smooth = (centres + 3 * PRIOR_COUNT * np.exp(log_base)) / (centres.sum(1, keepdims=True) + 3 * PRIOR_COUNT)
        labels = (pairs @ (np.log(smooth) - log_base).T).argmax(1)
        members = np.arange(count)[:, None] == labels
        centres = members.astype(np.float64) @ pairs
        for empty in np.flatnonzero(members @ totals == 0):
            centres[empty] = pairs[random.choice(len(pairs), p=likely)]
    return labels


def _to_levels(rows: Floats, weights: Floats) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Each row (of `rows`, n x size) on 16 whole-numbered levels, (n, 16), and which of them each entry takes."""
    levels = np.zeros((len(rows), LEVELS), np.int16)
    picks = np.zeros(rows.shape, np.uint8)
    for index, (row, weight) in enumerate(zip(rows, weights + weights.mean() / 4, strict=True)):
        centres = np.quantile(row, (np.arange(LEVELS) + 0.5) / LEVELS)
        for _ in range(LLOYDS):
            nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, row)
            mass = np.bincount(nearest, weight, LEVELS)
            moved = np.bincount(nearest, weight * row, LEVELS)
            centres = np.sort(np.where(mass > 0, moved / np.maximum(mass, 1e-300), centres))
        whole = np.rint(centres).clip(-(1 << 14), 1 << 14)
        levels[index] = whole
        picks[index] = np.searchsorted((whole[1:] + whole[:-1]) / 2, row)
    return levels, picks
