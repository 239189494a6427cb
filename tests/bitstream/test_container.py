"""Tokens <-> `.mxc`: the way back, limits, metadata, files, packets in any order."""

from dataclasses import replace
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.bitstream import (
    Header,
    Layout,
    MxcReader,
    MxcWriter,
    bytes_to_tokens,
    coding_for,
    parse_header,
    read_mxc,
    tokens_to_bytes,
    write_mxc,
)
from mixcodec.bitstream.container import packet_frames_for
from mixcodec.bitstream.header import MAX_HEADER_BYTES, MAX_METADATA_BYTES, MAX_PACKET_CODES
from mixcodec.bitstream.packet import NUMBERS, SEEK_STEP, packet_number, packet_to_bytes, parse_packet_start
from mixcodec.bitstream.varint import Fields, varint
from mixcodec.errors import BitstreamError, FileError, ModelError, NewerVersionError
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


@settings(max_examples=60, deadline=None)
@given(
    frames=st.one_of(st.integers(0, 12), st.integers(195, 210)),
    codebooks=st.integers(1, 8),
    channels=st.sampled_from([None, 2, 3]),
    size=st.sampled_from([2, 3, 1000, 1024, 65536]),
    rate=st.sampled_from([50.0, 12.5, 75.0, 44100 / 512, 16000 / 3]),
    sample_rate=st.sampled_from([1000, 16000, 44100, 768000]),
)
def test_there_and_back(frames, codebooks, channels, size, rate, sample_rate):
    tokens = some_tokens(frames, codebooks, channels, size, frame_rate=rate, sample_rate=sample_rate)
    assert bytes_to_tokens(tokens_to_bytes(tokens)) == tokens


def test_tokens_with_fewer_codes_in_later_frames():
    codes = some_tokens(10, 4, 2).codes
    codes[:, 6:, 3:] = -1
    tokens = some_tokens(codes=codes, sample_count=3200)
    assert bytes_to_tokens(tokens_to_bytes(tokens)) == tokens
    uneven = np.where(np.arange(4) >= np.arange(4, 0, -1).repeat([1, 2, 3, 4])[:, None], -1, codes)
    for odd, packet in ((codes[:, ::-1].copy(), 4), (uneven, 3)):
        tokens = some_tokens(codes=odd, sample_count=3200)
        assert parse_header(tokens_to_bytes(tokens))[0].packet_frames == packet
        assert bytes_to_tokens(tokens_to_bytes(tokens)) == tokens


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 3), max_size=20))
def test_frames_of_any_number_of_codes(counts):
    codes = np.where(np.arange(3) < np.array(counts, int).reshape(-1, 1), some_tokens(len(counts), 3).codes, -1)
    tokens = some_tokens(codes=codes, sample_count=320 * len(counts))
    back = bytes_to_tokens(tokens_to_bytes(tokens))
    assert np.array_equal(back.codes, codes[:, : max(counts, default=3)])


def test_the_coding_that_takes_the_fewest_bytes_is_chosen(samples):
    held = samples.tables()
    drawn = {}
    for kind, codes in {
        1: np.random.default_rng(0).integers(0, 12, (150, 3)),
        2: np.full((150, 3), 7),
    }.items():
        tokens = some_tokens(codes=codes, codebook_size=12, sample_count=48000)
        drawn[kind] = tokens_to_bytes(tokens, held)
        assert parse_header(drawn[kind])[0].coding == kind
        assert bytes_to_tokens(drawn[kind]) == tokens
    for kind in (3, 4):  # random payloads decode to codes that are likely under the tables
        model = coding_for(samples.SAMPLES["context-mono" if kind == 4 else "static-mono"].header, held)
        likely = likeliest(model, 150, 3)
        tokens = some_tokens(codes=likely, codebook_size=12, sample_count=48000)
        file = tokens_to_bytes(tokens, held)
        assert parse_header(file)[0].coding == kind
        assert bytes_to_tokens(file, tables_for=lambda header: held) == tokens


def likeliest(model, frames, books):
    """Codes (frames, books) drawn from the very tables of `model`, one after the other."""
    codes = np.zeros((1, frames, books), np.int64)
    random = np.random.default_rng(0)
    for frame in range(frames):
        for book in range(books):
            combination = model.combinations(codes)[0, frame, book]
            codes[0, frame, book] = random.choice(12, p=model.frequencies(book, int(combination)) / 2**24)
    return codes[0]


def test_other_tables_are_refused(samples):
    file = samples.SAMPLES["context-mono"].to_bytes()
    held = samples.tables()
    others = replace(held, books=held.books[:2])
    for tables, message in ((None, "there are none"), (others, "there are others")):
        with pytest.raises(ModelError, match=message):
            bytes_to_tokens(file, tables_for=lambda header, tables=tables: tables)


@given(st.integers(0, 2**49 - 1))
def test_varints(value):
    data = varint(value)
    fields = Fields(data + b"x")
    assert fields.number() == value
    assert fields.position == len(data) == max(1, -(-value.bit_length() // 7))


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=300), max_size=5), st.booleans())
@settings(deadline=None)
def test_headers_come_back(metadata, known):
    header = Header(
        "x" * 64, "f" * 32, 768000, 255, 3, 2, 64, 65536, Fraction(2**20, 2**20 - 1), 4, 4, 77, (2**48, 2**40), metadata
    )
    header = header if known else replace(header, length=None, coding=1, tables=0)
    data = header.to_bytes()
    assert parse_header(data + b"more") == (header, len(data))


def test_the_longest_header_fits_what_is_read_of_it():
    room = MAX_METADATA_BYTES - 2 - 64 - 3
    most = Header(
        "x" * 64,
        "f" * 32,
        768000,
        255,
        1,
        1,
        64,
        65536,
        Fraction(2**20, 2**20 - 1),
        4,
        4,
        7,
        (2**48, 2**40),
        {"k" * 64: "v" * room},
    )
    file = most.to_bytes()
    assert MAX_METADATA_BYTES < len(file) <= MAX_HEADER_BYTES
    writer = MxcWriter(
        data := BytesIO(), replace(most, coding=1, tables=0, length=None), coding_for(replace(most, coding=1), None)
    )
    writer.finish(0)
    assert MxcReader(data, "x").header.metadata == most.metadata
    with pytest.raises(BitstreamError, match="metadata take more"):
        replace(most, metadata={"k" * 64: "v" * room, "l": ""})


@pytest.mark.parametrize("key", ["", "k" * 65, "ü" * 33])
def test_keys_that_are_too_long_or_empty(key):
    with pytest.raises(BitstreamError, match="metadata key"):
        tokens_to_bytes(some_tokens(), metadata={key: "x"})
    with pytest.raises(BitstreamError, match="not Unicode"):
        tokens_to_bytes(some_tokens(), metadata={"x": "\ud800"})


@given(st.integers(0, 3 * NUMBERS), st.binary(max_size=40))
def test_a_packet_tells_its_number(samples, number, payload):
    header = samples.SAMPLES["uniform-mono"].header
    data = packet_to_bytes(header, number, Layout(4, 3, 0), payload)
    start = parse_packet_start(header, data)
    assert packet_number(start, data) == number % NUMBERS


@given(st.integers(0, NUMBERS - 1), st.binary(max_size=40), st.sets(st.integers(0, 10**6), min_size=1, max_size=9))
def test_an_odd_number_of_flipped_bits_is_never_another_packet(samples, number, payload, bits):
    header = samples.SAMPLES["uniform-mono"].header
    data = packet_to_bytes(header, number, Layout(4, 3, 0), payload)
    start = parse_packet_start(header, data)
    flipped = bytearray(data)
    bits = {bit % (8 * len(data)) for bit in bits}
    for bit in sorted(bits)[: len(bits) - (len(bits) + 1) % 2]:
        flipped[bit // 8] ^= 1 << bit % 8
    assert packet_number(start, bytes(flipped)) is None


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 32, 33, 64, 65])
def test_any_packets(samples, count):
    sample = replace(samples.SAMPLES["seek-table"], frames=3 * count)
    reader = MxcReader(BytesIO(sample.to_bytes()), "x")
    assert [packet.index for packet in reader.packets()] == list(range(count))
    assert reader.end().packets == count
    assert list(reader.end().seek) == [packet.position for packet in reader.packets()][SEEK_STEP::SEEK_STEP]
    for start in range(count + 2):
        for stop in (start, start + 1, start + 7, None):
            found = [packet.index for packet in reader.packets(start, stop)]
            assert found == list(range(start, count if stop is None else min(stop, count)))


def test_overhead_of_a_long_file(samples):
    """All but payloads: header 60, end 11, 4 to 5 a packet."""
    tokens = some_tokens(frames=60 * 50, codebooks=6)
    reader = MxcReader(BytesIO(tokens_to_bytes(tokens)), "x")
    payload = sum(len(packet.payload) for packet in reader.packets())
    assert reader.file_bytes - payload <= 60 + 11 + 15 * 4


def test_packets_hold_no_more_codes_than_allowed():
    for channels, books in ((1, 8), (2, 64), (255, 64)):
        frames = packet_frames_for(channels, books)
        assert 1 <= frames <= 200
        assert frames * channels * books <= MAX_PACKET_CODES
    tokens = some_tokens(5, 64, 255, 1000)
    assert bytes_to_tokens(tokens_to_bytes(tokens)) == tokens


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


def test_other_versions_and_codings_say_so(samples):
    data = samples.SAMPLES["uniform-mono"].to_bytes()
    with pytest.raises(NewerVersionError, match=r"newer mixcodec.*upgrade"):
        bytes_to_tokens(b"mxc\x03" + data[4:])
    for version in (0, 1):
        with pytest.raises(BitstreamError, match=f"version {version}.*encode the signal again"):
            bytes_to_tokens(b"mxc" + bytes([version]) + data[4:])
    sample = samples.SAMPLES["empty-stream"]
    file = samples.SAMPLES["empty-stream"].to_bytes()
    at = len(sample.header.to_bytes()) - 8  # coding, tables, no metadata, check
    from mixcodec.bitstream import MxcReader as Reader

    assert file[at] == 4
    newer = Reader(BytesIO(forged_coding(file, at)), "x")
    with pytest.raises(NewerVersionError, match="entropy coding 9"):
        coding_for(newer.header, None)
    assert newer.verify().packets == 0, "it can be shown and checked all the same"


def forged_coding(file, at):
    import binascii
    import zlib

    head = file[:at] + b"\x09" + file[at + 1 : at + 6]
    head += binascii.crc_hqx(head, 0).to_bytes(2, "little")
    body = head + file[len(head) : -7]
    return body + zlib.crc32(body).to_bytes(4, "little") + file[-3:]


def test_the_writer_keeps_its_promises(samples):
    sample = samples.SAMPLES["uniform-mono"]
    writer = MxcWriter(BytesIO(), sample.header, coding_for(sample.header, None))
    with pytest.raises(ValueError, match="every packet but the last"):
        writer.packet(np.zeros((1, 5, 3), np.int64))
    writer.packet(np.zeros((1, 3, 3), np.int64))
    with pytest.raises(ValueError, match="every packet but the last"):
        writer.packet(np.zeros((1, 4, 3), np.int64))
    with pytest.raises(ValueError, match="promised"):
        writer.finish(1280)
