"""Every code is as likely as any other: what codes cost without knowing anything about them."""

from __future__ import annotations

import numpy as np

from mixcodec.entropy.coder import SymbolReader, frequencies_to_model, symbols_to_bytes, weights_to_frequencies
from mixcodec.entropy.model import ENTROPY_MODELS, Codes, Counts, EntropyModel, check_codes, from_order, in_order


@ENTROPY_MODELS.register("uniform")
class Uniform(EntropyModel):
    """log2(size) bits a code, also where the size is no power of two.

    Args:
        size: codes in a codebook.
    """

    kind = "uniform"
    number = 1

    def __init__(self, size: int) -> None:
        self.size = size
        self._model = frequencies_to_model(weights_to_frequencies(np.ones(size, np.int64)))

    def encode(self, codes: Codes) -> bytes:
        check_codes(codes, self.size)
        symbols = in_order(codes).tolist()
        return symbols_to_bytes(symbols, [self._model] * len(symbols))

    def decode(self, data: bytes, counts: Counts, channels: int, codebooks: int) -> Codes:
        reader = SymbolReader(data)
        symbols = [reader.take(self._model) for _ in range(int(counts.sum()) * channels)]
        reader.finish()
        return from_order(symbols, counts, channels, codebooks)
