"""entropy.bin: there and back, its arithmetic against real numbers and Python's own integers, and everything malformed."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.entropy import ENTROPY_MODELS, Tables, bytes_to_tables, read_tables
from mixcodec.entropy.coder import TOTAL
from mixcodec.entropy.learn import learn_tables, sources
from mixcodec.entropy.tables import MAX_BYTES, BookTables, context_bytes, logarithms_to_frequencies
from mixcodec.errors import ModelError

SIZE = 5


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("size", [2, 3, 5, 8, 1024])
def test_tables_come_back(make_tables, size):
    held = make_tables(size)
    data = held.to_bytes()
    back = bytes_to_tables(data)
    assert back.to_bytes() == data
    assert back.size == size
    assert len(data) == 13 + 3 * (size + 1) + sum(context_bytes(size, n) for n in (3, 2, 4, 2, 3, 2))
    for mine, theirs in zip(held.books, back.books, strict=True):
        np.testing.assert_array_equal(mine.base, theirs.base)
        for a, b in zip(mine.contexts, theirs.contexts, strict=True):
            assert (a.back, a.book) == (b.back, b.book)
            for name in ("classes", "levels", "picks"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_frozen_bytes(make_context):
    small = Tables(3, (BookTables(np.array([0, 5, 40], np.uint8), (make_context(1, 0, 2, 3),)),))
    assert small.to_bytes().hex() == (
        "6d786501030000000100052801010002000100016aff8fffb4ffd9fffeff230048006d0092008affafffd4fff9ff1e004300"
        "68008d0085ffaaffcffff4ff19003e006300880080ffa5ffcaffefff140039005e0007e05c307e75bbfc"
    )


def test_the_fingerprint_changes_with_the_tables(make_tables):
    held = make_tables()
    other = replace(held, books=(held.books[0], held.books[2], held.books[2]))
    assert held.fingerprint == int.from_bytes(held.to_bytes()[-4:], "little") == bytes_to_tables(held.to_bytes()).fingerprint
    assert held.fingerprint != other.fingerprint


def test_every_flipped_byte_is_noticed(make_tables):
    data = make_tables().to_bytes()
    for index in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            with pytest.raises(ModelError):
                bytes_to_tables(data[:index] + bytes([data[index] ^ flip]) + data[index + 1 :])


def test_every_wrong_length_is_noticed(make_tables):
    data = make_tables().to_bytes()
    for wrong in [data[:length] for length in range(len(data))] + [data + b"\0", data + data]:
        with pytest.raises(ModelError):
            bytes_to_tables(wrong)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_malformed_under_a_right_checksum(make_tables, data):
    """Whatever it holds, it is refused in the one way, or is tables that code."""
    body = bytearray(make_tables().to_bytes()[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    try:
        found = bytes_to_tables(sealed(bytes(body[: len(body) - cut])))
    except ModelError:
        return
    model = ENTROPY_MODELS.build("context", tables=found)
    codes = np.random.default_rng(0).integers(0, found.size, (1, 9, len(found.books)))
    np.testing.assert_array_equal(model.decode(model.encode(codes), np.full(9, len(found.books)), 1, len(found.books)), codes)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, 0, "no file of entropy tables"),
        (3, 2, "newer version 2"),
        (3, 0, "impossible version 0"),
        (4, 1, "impossible codebook size 1"),
        (7, 1, "impossible codebook size"),
        (8, 0, "impossible number of codebooks 0"),
        (8, 65, "impossible number of codebooks 65"),
        (14, 5, "impossible number of contexts 5"),
        (15, 2, "impossible back 2"),
        (16, 3, "impossible book of a context 3"),
        (17, 0, "impossible number of classes 0"),
        (18, 3, "has the class 3 of 3"),
    ],
)
def test_a_field_out_of_range(make_tables, position, value, message):
    body = bytearray(make_tables().to_bytes()[:-4])
    body[position] = value
    with pytest.raises(ModelError, match=message):
        bytes_to_tables(sealed(bytes(body)))


def test_a_filling_half_byte(make_tables, tmp_path):
    body = bytearray(make_tables().to_bytes()[:-4])
    body[-1] |= 1
    with pytest.raises(ModelError, match="filling half byte"):
        bytes_to_tables(sealed(bytes(body)))


def test_bytes_to_spare_under_a_right_checksum(make_tables):
    with pytest.raises(ModelError, match="1 bytes to spare"):
        bytes_to_tables(sealed(make_tables().to_bytes()[:-4] + b"\0"))


def test_a_code_of_the_same_frame_must_be_coarser(make_context):
    book = BookTables(np.zeros(SIZE, np.uint8), (make_context(0, 0, 2),))
    with pytest.raises(ModelError, match="impossible book of a context 0"):
        bytes_to_tables(Tables(SIZE, (book,)).to_bytes())


def test_too_many_combinations(make_context):
    book = BookTables(np.zeros(SIZE, np.uint8), (make_context(1, 0, 65), make_context(1, 0, 64)))
    with pytest.raises(ModelError, match="4160 combinations"):
        bytes_to_tables(Tables(SIZE, (book,)).to_bytes())


def test_too_large():
    book = BookTables(np.zeros(60_000, np.uint8), ())
    with pytest.raises(ModelError, match="at most 300000"):
        Tables(60_000, (book,) * 6).to_bytes()
    with pytest.raises(ModelError, match="larger than 300000"):
        bytes_to_tables(sealed(b"mxe\1" + bytes(MAX_BYTES)))


def test_reading_a_file(make_tables, tmp_path):
    path = tmp_path / "entropy.bin"
    with pytest.raises(ModelError, match="cannot be read"):
        read_tables(path)
    path.write_bytes(make_tables().to_bytes())
    assert read_tables(path).fingerprint == make_tables().fingerprint
    path.write_bytes(b"mxe")
    with pytest.raises(ModelError, match=r"entropy\.bin"):
        read_tables(path)


def root(i: int) -> int:
    """floor(2^(30 - i/64)) by bisection: the largest r with r^64 <= 2^(1920 - i)."""
    low, high = 1, 1 << 31
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**64 <= 1 << (1920 - i) else (low, middle)
    return low


@given(st.lists(st.integers(-3000, 3000), min_size=2, max_size=40))
@settings(deadline=None)
def test_logarithms_become_the_specified_frequencies(x):
    below = [max(x) - value for value in x]
    weights = [0 if q >= 1984 else root(q % 64) >> q // 64 for q in below]
    shares = [1 + w * (TOTAL - len(x)) // sum(weights) for w in weights]
    shares[weights.index(max(weights))] += TOTAL - sum(shares)
    assert logarithms_to_frequencies(np.array(x, np.int32)).tolist() == shares


@pytest.mark.parametrize(("size", "books"), [(2, 1), (16, 3), (65, 2), (5000, 2)])
def test_learned_tables_fit_and_come_back(size, books):
    random = np.random.default_rng(0)
    clips = [random.integers(0, size, (frames, books)) for frames in (0, 1, 100)]
    held = learn_tables(clips, size)
    data = held.to_bytes()
    assert len(data) <= MAX_BYTES
    assert bytes_to_tables(data).to_bytes() == data
    assert learn_tables(clips, size).to_bytes() == data


def test_classes_are_given_up_where_there_is_no_room(monkeypatch):
    clips = [np.random.default_rng(0).integers(0, 64, (300, 3))]
    monkeypatch.setattr("mixcodec.entropy.learn.MAX_BYTES", 6000)
    assert 5000 < len(learn_tables(clips, 64).to_bytes()) <= 6000
    monkeypatch.setattr("mixcodec.entropy.learn.MAX_BYTES", 1000)
    assert not any(book.contexts for book in learn_tables(clips, 64).books)


def test_what_tables_are_learned_from():
    for clips in ([], [np.zeros((0, 2), int)], [np.zeros((3, 2), int), np.zeros((3, 1), int)], [np.full((2, 1), 4)]):
        with pytest.raises(ValueError, match="codes"):
            learn_tables(clips, 4)


def test_no_codebook_looks_at_what_is_not_decoded_yet():
    for books in (1, 2, 8):
        for book in range(books):
            assert all(source.book < (books if source.back else book) for source in sources(book, books))
