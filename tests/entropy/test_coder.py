"""constriction codes with the very integers that it is given."""

import numpy as np
import pytest
from constriction import stream
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.entropy.coder import TOTAL, SymbolReader, frequencies_to_model, symbols_to_bytes, weights_to_frequencies
from mixcodec.errors import BitstreamError

weights = st.lists(st.integers(0, (1 << 31) - 1), min_size=2, max_size=300).filter(any)


def random_frequencies(size, seed, sharpness):
    return weights_to_frequencies((np.random.default_rng(seed).random(size) ** sharpness * (1 << 30)).astype(np.int64) + 1)


@given(weights)
def test_frequencies_add_up_and_follow_the_weights(values):
    found = weights_to_frequencies(np.array(values, np.int64))
    shares = [1 + w * (TOTAL - len(values)) // sum(values) for w in values]  # Python's whole numbers have no limit
    shares[values.index(max(values))] += TOTAL - sum(shares)
    assert found.tolist() == shares
    assert found.sum() == TOTAL
    assert found.min() >= 1


@pytest.mark.parametrize(("size", "sharpness"), [(2, 1), (3, 30), (1024, 1), (1024, 12), (1024, 100), (65536, 20)])
def test_the_bounds_of_every_symbol_are_exact(size, sharpness):
    """The low 24 bits of the coder's state choose the symbol: both ends of each symbol's interval, and those beyond it."""
    frequencies = random_frequencies(size, size, sharpness)
    model = frequencies_to_model(frequencies)
    ends = np.cumsum(frequencies)
    for symbol, (first, last) in enumerate(zip((ends - frequencies).tolist(), (ends - 1).tolist(), strict=True)):
        for low in (first, last):
            assert stream.stack.AnsCoder(np.array([low, 1], np.uint32)).decode(model) == symbol


@given(st.integers(2, 50), st.integers(0, 99), st.floats(0.1, 50), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_symbols_come_back_at_their_cost(size, seed, sharpness, count):
    frequencies = random_frequencies(size, seed, sharpness)
    symbols = np.random.default_rng(seed).choice(size, count, p=frequencies / TOTAL).tolist()
    models = [frequencies_to_model(frequencies)] * count
    data = symbols_to_bytes(symbols, models)
    cost = -np.log2(frequencies[symbols] / TOTAL).sum()
    assert cost - 8 <= 8 * len(data) <= cost * 1.001 + 32
    reader = SymbolReader(data)
    assert [reader.take(model) for model in models] == symbols
    reader.finish()


def read_by_hand(data, tables):
    """The reading rule of the module's docstring in Python's whole numbers: the symbols, and whether nothing is left."""
    data += bytes(-len(data) % 4)
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    state, symbols = 0, []

    def refill(state):
        while state < 1 << 32 and words:
            state = state << 32 | words.pop()
        return state

    for frequencies in tables:
        state = refill(state)
        low, start, symbol = state % TOTAL, 0, 0
        while low >= start + frequencies[symbol]:
            start += frequencies[symbol]
            symbol += 1
        symbols.append(symbol)
        state = frequencies[symbol] * (state // TOTAL) + low - start
    return symbols, refill(state) == 0


@given(st.integers(2, 20), st.integers(0, 99), st.floats(0.1, 50), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_the_reading_rule_is_the_coder_s(size, seed, sharpness, count):
    tables = [random_frequencies(size, seed + i, sharpness) for i in range(count)]
    symbols = np.random.default_rng(seed).integers(0, size, count).tolist()
    data = symbols_to_bytes(symbols, [frequencies_to_model(table) for table in tables])
    assert read_by_hand(data, [table.tolist() for table in tables]) == (symbols, True)


def test_frozen_bytes():
    models = [frequencies_to_model(weights_to_frequencies(np.array([1, 2, 5])))] * 9
    assert symbols_to_bytes([2, 0, 1, 2, 2, 1, 0, 0, 2], models).hex() == "0000a04e31"


def test_what_is_no_output_of_the_coder():
    with pytest.raises(BitstreamError, match="zero byte"):
        SymbolReader(b"\1\0")
    with pytest.raises(BitstreamError, match="does not end"):
        SymbolReader(b"\1").finish()
    SymbolReader(b"").finish()
