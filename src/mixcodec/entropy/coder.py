"""Symbols and integer frequencies <-> bytes: constriction's stack coder (Bamler 2022, "Understanding Entropy Coding With
Asymmetric Numeral Systems (ANS): a Statistician's Perspective"; the code is of Duda et al. 2015).

constriction takes its models as floats, but here no float decides anything. Its fast categorical model gives each of the n
symbols of an alphabet one part in 2^24, and distributes the other 2^24 - n in proportion to the given weights: the lower
bound of symbol i is ``floor(sum(weights[:i]) * (2^24 - n) / sum(weights)) + i``. The weights given here are the whole numbers
`frequency - 1`, whose sum is 2^24 - n exactly. The scale is then 1.0 and every partial sum a whole number below 2^24, which
IEEE 754 holds and adds without rounding in any order: the model's probabilities are `frequency / 2^24` on every machine.

How the bytes are read, for those who have no constriction: fill them up with zeros to whole 32-bit words, little-endian,
and begin with the state 0. Before each symbol, and after the last, while the state is below 2^32 and words are left, take
the last word away and let state = state 2^32 + word. A symbol is the one with start <= state mod 2^24 < start + frequency,
where start is the sum of the frequencies of the symbols before it in the table; then
state = frequency floor(state / 2^24) + state mod 2^24 - start. At the end the state is 0 and no word is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from mixcodec.errors import BitstreamError

PRECISION = 24
TOTAL = 1 << PRECISION
"""What the frequencies of every table add up to."""

Frequencies = NDArray[np.int64]
Model = Any
"""A frequency table as constriction holds it: what a symbol is coded with."""


def frequencies_to_model(frequencies: Frequencies) -> Model:
    """The model of symbols 0 ... n-1 with probabilities `frequencies` / 2^24: n >= 2, each at least 1, and they add up."""
    return stream.model.Categorical((frequencies - 1).astype(np.float64), perfect=False)


def weights_to_frequencies(weights: NDArray[np.int64]) -> Frequencies:
    """Frequencies nearly in proportion to whole-numbered weights (below 2^31, not all 0), in integer arithmetic.

    Every symbol gets 1 and its share of the rest, rounded down; what the rounding leaves goes to the first heaviest one.
    """
    frequencies: Frequencies = 1 + weights * (TOTAL - len(weights)) // weights.sum()
    frequencies[weights.argmax()] += TOTAL - frequencies.sum()
    return frequencies


def symbols_to_bytes(symbols: Sequence[int], models: Sequence[Model]) -> bytes:
    """Code each symbol with its own model. Costs -sum(log2(frequency / 2^24)) bits and about two bytes.

    The coder is a stack: it is filled from the last symbol to the first. Its 32-bit words are written little-endian and
    the zero bytes at the end of the last one are left out, so that the last byte is never 0.
    """
    coder = stream.stack.AnsCoder()
    push = coder.encode_reverse
    for symbol, model in zip(reversed(symbols), reversed(models), strict=True):
        push(symbol, model)
    return bytes(coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))


class SymbolReader:
    """Takes the symbols out of what `symbols_to_bytes` made, the first one first.

    Any bytes decode to some symbols, and the bytes left over are compared at the end. The code is one to one: there is one
    byte string for a sequence of symbols, so everything that `finish` accepts is what the encoder would have written.

    Attributes:
        take: `take(model)` is the next symbol, an int.

    Raises:
        BitstreamError: the last byte is 0.
    """

    def __init__(self, data: bytes) -> None:
        if data.endswith(b"\0"):
            raise BitstreamError("a packet of codes ends with a zero byte")
        words = np.frombuffer(data + bytes(-len(data) % 4), "<u4")
        self._coder = stream.stack.AnsCoder(words.astype(np.uint32))
        self.take = self._coder.decode

    def finish(self) -> None:
        """Raises BitstreamError unless all of the data has been used up."""
        if not self._coder.is_empty():
            raise BitstreamError("a packet of codes does not end where its last code does")
