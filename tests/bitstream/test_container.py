"""The .mxc file: frozen bytes, the way back, and everything a decoder must reject."""

import re
import zlib
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.bitstream import Header, MxcReader, MxcWriter, bytes_to_tokens, read_mxc, tokens_to_bytes, write_mxc
from mixcodec.bitstream.header import MAX_HEADER_BYTES, varint
from mixcodec.errors import BitstreamError, FileError, NewerVersionError
from mixcodec.tokens import Tokens

FINGERPRINT = "00112233445566778899aabbccddeeff"


def some_tokens(frames=3, codebooks=2, channels=None, size=1024, seed=0, **changes) -> Tokens:
    shape = (frames, codebooks) if channels is None else (channels, frames, codebooks)
    fields = {
        "codes": np.random.default_rng(seed).integers(0, size, shape),
        "frame_rate": 50.0,
        "sample_count": frames * 320,
        "sample_rate": 16000,
        "codebook_size": size,
        "model": "tiny",
        "fingerprint": FINGERPRINT,
    }
    return Tokens(**(fields | changes))


def sealed(body: bytes) -> bytes:
    """A file whose checksum is right, whatever it holds."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def specification_example() -> bytes:
    page = Path(__file__).parents[2] / "docs" / "bitstream.md"
    block = page.read_text(encoding="utf-8").split("## Example")[1].split("```")[1]
    lines = [re.match(r"(?:[0-9a-f]{2} ?)+", line) for line in block.strip().splitlines()]
    return bytes.fromhex("".join(line.group() for line in lines if line))


GOLDEN = bytes.fromhex("6d7863 01 0474696e79 00112233445566778899aabbccddeeff 807d 05 01 01 02 8008 3201 007ff0 3ba93ab4")


def test_golden_bytes():
    tokens = some_tokens(codes=np.array([[1, 1023]]), sample_count=5)
    assert tokens_to_bytes(tokens) == GOLDEN
    assert bytes_to_tokens(GOLDEN) == tokens


def test_specification_shows_the_golden_bytes():
    assert specification_example() == GOLDEN


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(0, 40),
    codebooks=st.integers(1, 8),
    channels=st.sampled_from([None, 2, 3]),
    size=st.sampled_from([2, 3, 1000, 1024, 65536]),
    rate=st.sampled_from([50.0, 12.5, 75.0, 44100 / 512, 16000 / 3]),
    sample_rate=st.sampled_from([1000, 16000, 44100, 768000]),
)
def test_there_and_back(frames, codebooks, channels, size, rate, sample_rate):
    tokens = some_tokens(frames, codebooks, channels, size, frame_rate=rate, sample_rate=sample_rate)
    assert bytes_to_tokens(tokens_to_bytes(tokens)) == tokens


def test_overhead_is_small():
    tokens = some_tokens(frames=150, codebooks=6)
    assert len(tokens_to_bytes(tokens)) - 150 * 6 * 10 // 8 - len(tokens.model) <= 38


@given(st.lists(st.integers(0, 20), max_size=8))
def test_blocks_of_any_length_give_the_same_file(lengths):
    tokens = some_tokens(sum(lengths), 3, 2, sample_count=min(1, sum(lengths)))
    header = Header("tiny", FINGERPRINT, 16000, 0, 2, 0, 3, 1024, Fraction(50))
    file = BytesIO()
    writer = MxcWriter(file, header)
    for piece in np.split(tokens.codes, np.cumsum(lengths), axis=1):
        writer.append(piece)
    written = writer.finish(tokens.sample_count)
    assert file.getvalue() == tokens_to_bytes(tokens)
    assert written.file_bytes == len(file.getvalue())


def test_long_payloads_wait_on_disk(monkeypatch):
    monkeypatch.setattr("mixcodec.bitstream.container.SPOOL_BYTES", 100)
    tokens = some_tokens(1000, 3)
    writer = MxcWriter(file := BytesIO(), Header("tiny", FINGERPRINT, 16000, 0, 1, 0, 3, 1024, Fraction(50)))
    for piece in np.split(tokens.codes, 10):
        writer.append(piece)
    writer.finish(tokens.sample_count)
    assert file.getvalue() == tokens_to_bytes(tokens)


def test_reading_in_blocks(tmp_path):
    tokens = some_tokens(100, 3, 2)
    reader = MxcReader(BytesIO(tokens_to_bytes(tokens)), "x")
    blocks = list(reader.blocks(24))
    assert [block.shape[1] for block in blocks] == [24, 24, 24, 24, 4]
    assert np.array_equal(np.concatenate(blocks, axis=1), tokens.codes)


def test_every_flipped_bit_is_an_error():
    data = tokens_to_bytes(some_tokens())
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(BitstreamError):
            bytes_to_tokens(bytes(flipped))


def test_every_truncation_is_an_error():
    data = tokens_to_bytes(some_tokens())
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            bytes_to_tokens(data[:length])


def test_trailing_bytes_are_an_error():
    with pytest.raises(BitstreamError, match="bytes to spare"):
        bytes_to_tokens(GOLDEN + b"\0")


@given(st.binary(max_size=200))
def test_noise_is_an_error_and_nothing_else(noise):
    for data in (noise, b"mxc\x01" + noise, sealed(b"mxc\x01\x04tiny" + noise)):
        with pytest.raises(BitstreamError):
            bytes_to_tokens(data)


def test_a_newer_version_says_so():
    with pytest.raises(NewerVersionError, match=r"newer mixcodec.*upgrade"):
        bytes_to_tokens(b"mxc\x02" + GOLDEN[4:])
    with pytest.raises(BitstreamError, match="version 0"):
        bytes_to_tokens(b"mxc\x00" + GOLDEN[4:])


def body(name=b"tiny", numbers=(16000, 5, 1, 1, 2, 1024, 50, 1), payload=b"\x00\x7f\xf0") -> bytes:
    fields = b"".join(number if isinstance(number, bytes) else varint(number) for number in numbers)
    return b"mxc\x01" + bytes([len(name)]) + name + bytes.fromhex(FINGERPRINT) + fields + payload


def test_the_forger_below_is_honest_by_default():
    assert sealed(body()) == GOLDEN


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (body(name=b""), "model name"),
        (body(name=b"../etc"), "model name"),
        (body(name=b"\xff\xfe"), "model name"),
        (body(name=b"x" * 65), "model name"),
        (body(numbers=(999, 5, 1, 1, 2, 1024, 50, 1)), "sample rate"),
        (body(numbers=(768001, 5, 1, 1, 2, 1024, 50, 1)), "sample rate"),
        (body(numbers=(16000, 2**48 + 1, 1, 1, 2, 1024, 50, 1)), "sample count"),
        (body(numbers=(16000, 5, 0, 1, 2, 1024, 50, 1)), "channel count"),
        (body(numbers=(16000, 5, 256, 1, 2, 1024, 50, 1)), "channel count"),
        (body(numbers=(16000, 5, 1, 2**40 + 1, 2, 1024, 50, 1)), "frame count"),
        (body(numbers=(16000, 5, 1, 2**40, 2, 1024, 50, 1)), "cut short"),
        (body(numbers=(16000, 5, 1, 0, 2, 1024, 50, 1), payload=b""), "0 frames for 5 samples"),
        (body(numbers=(16000, 5, 1, 1, 0, 1024, 50, 1)), "codebook count"),
        (body(numbers=(16000, 5, 1, 1, 65, 1024, 50, 1)), "codebook count"),
        (body(numbers=(16000, 5, 1, 1, 2, 1, 50, 1)), "codebook size"),
        (body(numbers=(16000, 5, 1, 1, 2, 65537, 50, 1)), "codebook size"),
        (body(numbers=(16000, 5, 1, 1, 2, 1024, 0, 1)), "numerator"),
        (body(numbers=(16000, 5, 1, 1, 2, 1024, 50, 0)), "lowest terms"),
        (body(numbers=(16000, 5, 1, 1, 2, 1024, 1, 0)), "lowest terms"),
        (body(numbers=(16000, 5, 1, 1, 2, 1024, 1, 2**20 + 1)), "denominator"),
        (body(numbers=(16000, 5, 1, 1, 2, 1024, 100, 2)), "lowest terms"),
        (body(numbers=(16000, b"\x85\x00", 1, 1, 2, 1024, 50, 1)), "shortest form"),
        (body(numbers=(16000, b"\x85" * 8 + b"\x01", 1, 1, 2, 1024, 50, 1)), "too long"),
        (body(payload=b"\x00\x7f\xf1"), "filling bits"),
        (body(numbers=(16000, 5, 1, 1, 2, 1000, 50, 1)), "out of range"),
        (body(payload=b"\x00\x7f"), "cut short"),
    ],
)
def test_forged_fields_are_rejected(forged, message):
    with pytest.raises(BitstreamError, match=message):
        bytes_to_tokens(sealed(forged))


def test_the_longest_header_fits_what_is_read_of_it():
    limits = Header("x" * 64, "f" * 32, 768000, 2**48, 255, 2**40, 64, 65536, Fraction(2**20, 2**20 - 1))
    assert len(limits.to_bytes()) <= MAX_HEADER_BYTES


def test_files(tmp_path):
    tokens = some_tokens()
    write_mxc(tmp_path / "x.mxc", tokens)
    assert read_mxc(tmp_path / "x.mxc") == tokens
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.mxc"]
    with pytest.raises(FileError, match="no such file"):
        read_mxc(tmp_path / "y.mxc")
    with pytest.raises(BitstreamError, match="empty"):
        bytes_to_tokens(b"")


def test_tokens_beyond_the_format_are_refused():
    with pytest.raises(BitstreamError, match="codebook count"):
        tokens_to_bytes(some_tokens(codebooks=65))
    with pytest.raises(BitstreamError, match="0 frames"):
        tokens_to_bytes(replace(some_tokens(frames=0), sample_count=7))
