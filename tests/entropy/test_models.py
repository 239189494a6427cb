"""Every entropy model: there and back, what it costs, frozen bytes, and what it refuses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.entropy import ENTROPY_MODELS
from mixcodec.entropy import KINDS as NUMBERS
from mixcodec.entropy.learn import learn_tables
from mixcodec.errors import BitstreamError

SIZE = 5
KINDS = ENTROPY_MODELS.kinds()


def some_codes(channels, frames, books, seed=0, size=SIZE):
    """Codes of which some repeat."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, size, (channels, frames, books))
    return np.where(random.random(codes.shape) < 0.3, codes[:, :1], codes)


def full(frames, books):
    """The counts of frames that have all their codes."""
    return np.full(frames, books)


shapes = st.tuples(st.integers(1, 3), st.integers(0, 20), st.integers(1, 3))


@pytest.mark.parametrize("kind", KINDS)
@given(shape=shapes, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_codes_come_back(build, kind, shape, seed):
    codes, model = some_codes(*shape, seed=seed), build(kind)
    back = model.decode(model.encode(codes), full(shape[1], shape[2]), shape[0], shape[2])
    assert back.dtype == np.int64
    np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("kind", KINDS)
@given(counts=st.lists(st.integers(1, 3), max_size=12), channels=st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_frames_with_fewer_codes(build, kind, counts, channels):
    counts = np.array(counts, np.int64)
    codes = some_codes(channels, len(counts), 3)
    codes[:, np.arange(3) >= counts[:, None]] = -1
    model = build(kind)
    np.testing.assert_array_equal(model.decode(model.encode(codes), counts, channels, 3), codes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codes", [[[[1, -1, 2]]], [[[-1, -1, -1]]], [[[1, 2]], [[1, -1]]]])
def test_codes_are_absent_only_at_the_end_of_frames(build, kind, codes):
    with pytest.raises(ValueError, match="absent only at the end"):
        build(kind).encode(np.array(codes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 3, 1024, 4097])
def test_any_size_of_codebook(build, make_tables, kind, size):
    model = build(kind, make_tables(size))
    codes = some_codes(2, 5, 3, size=size)
    np.testing.assert_array_equal(model.decode(model.encode(codes), full(5, 3), 2, 3), codes)


def test_numbers_are_distinct_and_frozen(build):
    assert {build(kind).number: kind for kind in KINDS} == NUMBERS == {1: "uniform", 2: "adaptive", 3: "static", 4: "context"}
    assert all(build(kind).kind == kind for kind in KINDS)


def uniform_cost(codes, held):
    return codes.size * math.log2(held.size)


def adaptive_cost(codes, held):
    """The definition in the docstring of `Adaptive`, code by code."""
    bits = 0.0
    for book in np.moveaxis(codes, 2, 0):
        seen, hits = [], 0
        for code in book.T.reshape(-1).tolist():
            known = code in seen
            if seen:
                n, h = len(seen), hits
                bits -= math.log2((h + 1 if known else n - h + 1) / (n + 2))
            bits -= math.log2(seen.count(code) / len(seen) if known else 1 / held.size)
            seen.append(code)
            hits += known
    return bits


def learned_cost(codes, held, contextual):
    """The specification of `entropy.bin`, one code at a time, in real numbers."""
    bits = 0.0
    for channel in codes:
        for t, frame in enumerate(channel):
            for k, code in enumerate(frame):
                book = held.books[k]
                x = -book.base.astype(float) / 16
                for context in book.contexts if contextual else ():
                    source = frame if context.back == 0 else channel[t - 1] if t else []
                    there = context.book < len(source)
                    row = context.classes[source[context.book] if there else held.size]
                    x = x + [context.levels[row, pick] / 64 for pick in context.picks[row]]
                bits -= math.log2(2 ** x[code] / (2**x).sum())
    return bits


COSTS = {
    "uniform": uniform_cost,
    "adaptive": adaptive_cost,
    "static": lambda codes, held: learned_cost(codes, held, False),
    "context": lambda codes, held: learned_cost(codes, held, True),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "shape"), [(SIZE, (1, 300, 3)), (SIZE, (2, 100, 2)), (1024, (1, 64, 3)), (SIZE, (1, 1, 1))])
def test_bits_spent_are_what_the_model_says(build, make_tables, kind, size, shape):
    held = make_tables(size)
    codes = some_codes(*shape, size=size)
    bits = COSTS[kind](codes, held)
    spent = 8 * len(build(kind, held).encode(codes))
    assert bits - 8 <= spent <= bits * 1.01 + 32  # the coder ends with about two bytes more than it must


GOLDEN = {
    "adaptive": "cf10a9aba49f42c99a7dd288252a169a0c",
    "context": "a74577d591ba2a1e88961289e25b04f708",
    "static": "7afdf5480ceafe43112018acb201",
    "uniform": "cc4ee22bb0417a7bee112c402f",
}


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_bytes(build, kind):
    codes = np.arange(2 * 6 * 3).reshape(2, 6, 3) ** 2 % 7 % SIZE
    assert build(kind).encode(codes).hex() == GOLDEN[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_packet_takes_no_bytes(build, kind):
    assert build(kind).encode(np.zeros((1, 0, 3), np.int64)) == b""


@pytest.mark.parametrize("kind", KINDS)
def test_packets_do_not_depend_on_each_other(build, kind):
    packets = [some_codes(2, frames, 3, seed=frames) for frames in (0, 1, 64, 7, 64)]
    together = build(kind).encode_packets(packets)
    assert together == [build(kind).encode(codes) for codes in packets]
    model = build(kind)
    for data, codes in zip(together[::-1], packets[::-1], strict=True):
        np.testing.assert_array_equal(model.decode(data, full(codes.shape[1], 3), 2, 3), codes)


@pytest.mark.parametrize("kind", ["static", "context"])
def test_fewer_codebooks_than_tables(build, kind):
    model, codes = build(kind), some_codes(1, 40, 3)
    for books in (1, 2):
        fewer = codes[..., :books]
        np.testing.assert_array_equal(model.decode(model.encode(fewer), full(40, books), 1, books), fewer)
    with pytest.raises(ValueError, match="1 to 3 codebooks, not for 4"):
        model.encode(some_codes(1, 2, 4))
    with pytest.raises(ValueError, match="not for 4"):
        model.decode(b"", full(1, 4), 1, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codes", [np.full((1, 1, 1), SIZE), np.full((1, 1, 1), -2), np.zeros((1, 1)), np.zeros((1, 1, 1))])
def test_codes_that_cannot_be(build, kind, codes):
    with pytest.raises(ValueError, match="codes"):
        build(kind).encode(codes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("books", [1, 3])
def test_garbage_is_refused_or_is_what_the_encoder_would_write(build, kind, books):
    random, model, accepted = np.random.default_rng(books), build(kind), 0
    for _ in range(1500):
        data = random.bytes(int(random.integers(0, 12)))
        try:
            codes = model.decode(data, full(4, books), 1, books)
        except BitstreamError:
            continue
        accepted += 1
        assert codes.shape == (1, 4, books)
        assert codes.min() >= 0
        assert codes.max() < SIZE
        assert model.encode(codes) == data
    assert accepted < 1000


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_lengths(build, kind):
    model, codes = build(kind), some_codes(1, 30, 3, seed=5)
    data = model.encode(codes)
    for wrong in (data + b"\0", data + b"\1", data + data, data[:-1] + bytes([data[-1] ^ 0x80])):
        with pytest.raises(BitstreamError):
            model.decode(wrong, full(30, 3), 1, 3)
    with pytest.raises(BitstreamError):
        model.decode(data, full(20, 3), 1, 3)
    for length in range(len(data)):  # what is cut short may be another packet, but never this one
        try:
            found = model.decode(data[:length], full(30, 3), 1, 3)
        except BitstreamError:
            continue
        assert model.encode(found) == data[:length]
        assert not np.array_equal(found, codes)


def test_silence_is_nearly_free_where_counts_adapt(build, make_tables):
    codes = np.full((1, 64, 8), 700)
    spent = len(build("adaptive", make_tables(1024)).encode(codes))
    assert spent < codes.size * 10 / 8 / 25  # of 640 bytes uniform


def test_learned_contexts_reach_the_entropy_of_a_markov_source(build):
    """Book 0: stays with probability 7/8, else uniform over 16. Book 1: book 0's code plus a fair bit."""
    random = np.random.default_rng(1)

    def clip(frames):
        fresh, moves = random.integers(0, 16, frames), random.random(frames) < 1 / 8
        moves[0] = True
        first = fresh[np.maximum.accumulate(np.where(moves, np.arange(frames), 0))]
        return np.stack([first, (first + random.integers(0, 2, frames)) % 16], axis=1)

    held = learn_tables([clip(2000) for _ in range(30)], 16)
    stay, move = 7 / 8 + 1 / 128, 1 / 128
    entropy = -stay * math.log2(stay) - 15 * move * math.log2(move) + 1
    codes = clip(20_000)[None]
    contextual = 8 * len(build("context", held).encode(codes)) / codes.shape[1]
    assert entropy - 0.05 < contextual < entropy * 1.05
    static = 8 * len(build("static", held).encode(codes)) / codes.shape[1]
    assert static == pytest.approx(8, rel=0.01)  # two codes of four bits
