"""Flipped bits, cuts, gaps and noise: an error, and what is left is found."""

import contextlib
import random
import time
import tracemalloc
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.bitstream import MxcReader, PacketStream, coding_for, rescued_packets
from mixcodec.bitstream.container import decoded_packets
from mixcodec.bitstream.packet import MAX_END_BYTES
from mixcodec.bitstream.varint import varint
from mixcodec.errors import BitstreamError

NAMES = sorted(path.stem for path in (Path(__file__).parent / "golden").glob("*.mxc"))
FEW = ["adaptive-stereo", "context-stereo", "irregular", "stream"]


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


MODELS = {}


def model(header, samples):
    key = (header.coding, header.codebook_size)
    if key not in MODELS:
        MODELS[key] = coding_for(header, samples.tables())
    return MODELS[key]


def rescued(data, samples):
    """{number: codes} of every packet that is left."""
    reader = MxcReader(BytesIO(data), "x")
    coding = model(reader.header, samples)
    found = {}
    for packet in rescued_packets(reader):
        found[packet.index] = next(decoded_packets(reader, coding, [packet]))
    return found


def by_packet(sample):
    codes, step = sample.codes(), sample.packet_frames
    return {index: codes[:, index * step : (index + 1) * step] for index in range(-(-sample.frames // step))}


def agree(found, expected):
    return all(np.array_equal(codes, expected[index][:, :, : codes.shape[2]]) for index, codes in found.items())


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_an_error(samples, read, name):
    data = samples.SAMPLES[name].to_bytes()
    for bit in range(len(data) * 8):
        with pytest.raises(BitstreamError):
            read(flipped(data, bit))
        with pytest.raises(BitstreamError):
            list(PacketStream(BytesIO(flipped(data, bit))))


@pytest.mark.parametrize("name", FEW)
def test_every_flipped_bit_behind_the_header_costs_one_packet(samples, name):
    sample = samples.SAMPLES[name]
    data, expected = sample.to_bytes(), by_packet(sample)
    reader = MxcReader(BytesIO(data), name)
    packets = list(reader.packets())
    end = reader.end_position
    for bit in range(8 * reader.first, len(data) * 8, 5):  # at least one of every byte
        found = rescued(flipped(data, bit), samples)
        assert agree(found, expected)
        hit = {packet.index for packet in packets if packet.position <= bit // 8 < packet.position + packet.size}
        lost = set(expected) - set(found)
        assert lost >= hit if bit // 8 < end else not lost
        if hit and min(hit) < len(packets) - 3:  # near the end there may be nobody to bear witness
            assert lost == hit


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error_and_leaves_the_whole_packets(samples, read, name):
    sample = samples.SAMPLES[name]
    data, expected = sample.to_bytes(), by_packet(sample)
    reader = MxcReader(BytesIO(data), name)
    ends = [packet.position + packet.size for packet in reader.packets()]
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            read(data[:length])
        with pytest.raises(BitstreamError):
            list(PacketStream(BytesIO(data[:length])))
        if length < reader.first:
            continue
        found = rescued(data[:length], samples)
        assert list(found) == [index for index, end in enumerate(ends) if end <= length]
        assert agree(found, expected)


@given(st.integers(0, 400), st.integers(1, 60), st.integers(0, 60), st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_holes_and_junk_cost_what_they_hit(samples, start, count, junk, seed):
    sample = samples.SAMPLES["stream"]
    data, expected = sample.to_bytes(), by_packet(sample)
    reader = MxcReader(BytesIO(data), "x")
    packets = list(reader.packets())
    start = min(max(start, reader.first), reader.end_position)
    stop = min(start + count, reader.end_position)
    found = rescued(data[:start] + random.Random(seed).randbytes(junk) + data[stop:], samples)
    assert agree(found, expected)
    before = [packet.index for packet in packets if packet.position + packet.size <= start]
    after = [packet.index for packet in packets if packet.position >= stop]
    assert set(found) >= set(before)
    assert set(found) >= set(after), "the end record bears witness to the last ones"
    assert list(found) == sorted(found)


def test_whole_packets_are_found_after_much_junk_by_the_seek_table(samples):
    sample = replace(samples.SAMPLES["seek-table"], frames=300)
    data = sample.to_bytes()
    packets = list(MxcReader(BytesIO(data), "x").packets())
    first, last = packets[3].position, packets[20].position
    junk = b"\xff" * (last - first)
    found = rescued(data[:first] + junk + data[last:], samples)
    assert sorted(found) == [0, 1, 2, *range(20, 100)]


def test_packets_that_lie_in_another_order_are_not_believed(samples):
    data = samples.SAMPLES["seek-table"].to_bytes()
    packets = list(MxcReader(BytesIO(data), "x").packets())
    one, two = (data[packets[i].position : packets[i].position + packets[i].size] for i in (4, 5))
    assert len(one) == len(two)
    swapped = data.replace(one + two, two + one)
    assert swapped != data
    with pytest.raises(BitstreamError):
        list(MxcReader(BytesIO(swapped), "x").packets())
    found = rescued(swapped, samples)
    assert set(found) >= set(range(33)) - {4, 5}
    assert agree(found, by_packet(samples.SAMPLES["seek-table"]))


@pytest.mark.parametrize("name", NAMES)
def test_trailing_bytes_are_an_error(samples, read, name):
    data = samples.SAMPLES[name].to_bytes()
    for more in (b"\0", b"x", data, bytes(1000)):
        with pytest.raises(BitstreamError):
            read(data + more)
        with pytest.raises(BitstreamError):
            list(PacketStream(BytesIO(data + more)))


@given(st.binary(max_size=300), st.integers(0, 60))
@settings(max_examples=80, deadline=None)
def test_noise_is_an_error_and_nothing_else(samples, read, forge, noise, kept):
    data = samples.SAMPLES["context-mono"].to_bytes()
    for file in (noise, b"mxc\x02" + noise, data[:kept] + noise):
        with pytest.raises(BitstreamError):
            read(file)


def fields_of(sample):
    """Name of a number -> where it stands in the header, and how many bytes it takes."""
    header = sample.header
    numbers = {
        "sample rate": header.sample_rate,
        "channels": header.channels,
        "codebooks": header.codebooks,
        "more": header.more,
        "most": header.most_codebooks,
        "size": header.codebook_size,
        "numerator": header.frame_rate.numerator,
        "denominator": header.frame_rate.denominator,
        "packet frames": header.packet_frames,
        "samples": header.length[0],
        "frames": header.length[1],
    }
    places, at = {}, 6 + len(header.model) + 16
    for name, value in numbers.items():
        places[name] = (at, at + len(varint(value)))
        at += len(varint(value))
    return places


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sample rate", 999, "sample rate"),
        ("sample rate", 768001, "sample rate"),
        ("channels", 0, "channel count"),
        ("channels", 256, "channel count"),
        ("codebooks", 0, "usual codebook count"),
        ("codebooks", 4, "usual codebook count"),
        ("more", 1, "usual codebook count"),
        ("more", 4, "larger frames|usual codebook count"),
        ("most", 0, "codebook count"),
        ("most", 65, "codebook count"),
        ("size", 1, "codebook size"),
        ("size", 65537, "codebook size"),
        ("numerator", 0, "numerator|lowest terms"),
        ("numerator", 2**20 + 1, "numerator"),
        ("denominator", 0, "lowest terms"),
        ("denominator", 2, "lowest terms"),
        ("denominator", 2**20 + 1, "denominator"),
        ("packet frames", 0, "packet"),
        ("packet frames", 4097, "frame count of a packet"),
        ("samples", 2**48 + 1, "sample count"),
        ("samples", 0, "4 frames for 0 samples"),
        ("frames", 2**40 + 1, "frame count"),
        ("frames", 2**40, "packets"),
        ("frames", 5, "packets"),
        ("frames", 3, "make up"),
        ("frames", 0, "0 frames for 1280 samples"),
        ("frames", b"\x84\x00", "shortest form"),
        ("frames", b"\x85" * 8 + b"\x01", "too long"),
    ],
)
def test_forged_headers_are_rejected(samples, read, forge, name, value, message):
    sample = samples.SAMPLES["uniform-mono"]
    new = value if isinstance(value, bytes) else varint(value)
    with pytest.raises(BitstreamError, match=message):
        read(forge(sample.to_bytes(), *fields_of(sample)[name], new))


@pytest.mark.parametrize("model", [b"", b"../etc", b"\xff\xfe", b"x" * 65, b"a b"])
def test_forged_names_are_rejected(samples, read, forge, model):
    data = samples.SAMPLES["uniform-mono"].to_bytes()
    with pytest.raises(BitstreamError, match="model name"):
        read(forge(data, 5, 10, bytes([len(model)]) + model))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (b"\x01b\x00\x01a\x00", "not in order"),
        (b"\x01a\x00\x01a\x00", "twice"),
        (b"\x00\x01a", "takes 0 bytes"),
        (b"\x01a\x05a", "within a text"),
        (b"\x01a", "within a text"),
        (b"\x01\xff\x00", "UTF-8"),
        (b"\x41" + b"k" * 65 + b"\x00", "text of 65 bytes"),
    ],
)
def test_forged_metadata_are_rejected(samples, read, forge, texts, message):
    sample = samples.SAMPLES["uniform-mono"]
    data, end = sample.to_bytes(), len(sample.header.to_bytes())
    forged = forge(data, end - 3, end - 2, varint(len(texts)) + texts)
    with pytest.raises(BitstreamError, match=message):
        read(forged)
    with pytest.raises(BitstreamError, match=message):
        PacketStream(BytesIO(forged))


@pytest.mark.parametrize("flags", [2, 3, 128])
def test_unknown_flags_are_rejected(samples, read, forge, flags):
    with pytest.raises(BitstreamError, match="flags"):
        read(forge(samples.SAMPLES["empty-stream" if not flags & 1 else "empty"].to_bytes(), 4, 5, bytes([flags])))


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (b"\x01xx", "neither a packet"),
        (b"\x07xx", "neither a packet"),
        (varint(8 << 2 | 1) + b"\x03" + bytes(7) + b"xx", "few or many"),
        (varint(8 << 2 | 1) + b"\x0d" + bytes(7) + b"xx", "few or many"),
        (varint(8 << 2 | 1) + b"\x0c" + bytes(7) + b"xx", "shortest form"),
        (varint(8 << 2 | 2) + b"\x04\x08" + bytes(7) + b"xx", "impossible length"),
        (varint(8 << 2 | 2) + b"\x00\x00" + bytes(7) + b"xx", "impossible length"),
        (varint(8 << 2 | 2) + b"\x03\x08" + b"1234567" + b"xx", "does not end"),
        (varint(1 << 2 | 2) + b"\x03\x09" + b"xx", "make up"),
        (varint(2**40), "longer than its codes"),
        (varint(9 << 2) + b"1234567\0" + b"xx", "zero byte"),
        (varint(9 << 2) + b"12345678" + b"xx", "does not end"),
    ],
)
def test_forged_packets_are_rejected(samples, read, forge, packet, message):
    data = samples.SAMPLES["uniform-mono"].to_bytes()
    reader = MxcReader(BytesIO(data), "x")
    (only,) = reader.packets()
    with pytest.raises(BitstreamError, match=message):
        read(forge(data, only.position, only.position + only.size, packet))


def test_a_forged_seek_table_is_rejected(samples, read, forge):
    data = samples.SAMPLES["seek-table"].to_bytes()
    reader = MxcReader(BytesIO(data), "x")
    entry = reader.end().seek[0] - reader.first
    record = reader.end_position
    at = record + 1 + len(varint(33))
    assert data[at : at + len(varint(entry))] == varint(entry)
    for wrong in (entry + 1, 0, 2**45):
        with pytest.raises(BitstreamError):
            read(forge(data, at, at + len(varint(entry)), varint(wrong)))


def test_bytes_between_the_last_packet_and_the_end_are_rejected(samples, read):
    """Behind a zero byte, where a stream would see the end record."""
    import binascii
    import zlib

    data = samples.SAMPLES["uniform-mono"].to_bytes()
    reader = MxcReader(BytesIO(data), "x")
    reader.end()
    record = data[reader.end_position : -7]
    body = data[: reader.end_position] + b"\0junk" + record
    assert binascii.crc_hqx(record[:-2], 0).to_bytes(2, "little") == record[-2:]
    forged = body + zlib.crc32(body).to_bytes(4, "little") + (len(record) + 7).to_bytes(3, "little")
    with pytest.raises(BitstreamError, match="make up"):
        read(forged)


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["frames", "samples", "packet frames", "most", "channels", "size"])
def test_much_declared_in_few_bytes_takes_no_memory(samples, read, forge, name):
    sample = samples.SAMPLES["uniform-mono"]
    most = {"frames": 2**40, "samples": 2**48, "packet frames": 4096, "most": 64, "channels": 255, "size": 65536}[name]
    data = forge(sample.to_bytes(), *fields_of(sample)[name], varint(most))

    def work():
        start = time.process_time()
        with contextlib.suppress(BitstreamError):
            read(data)
        try:
            list(PacketStream(BytesIO(data)))
            list(rescued_packets(MxcReader(BytesIO(data), "x")))
        except BitstreamError:
            pass
        assert time.process_time() - start < 2

    assert peak_of(work) < 8 << 20


def test_an_end_record_of_nothing_but_seek_entries(samples):
    """Four million of them in four megabytes, with every checksum right."""
    import binascii
    import zlib

    entries = MAX_END_BYTES - 20
    packets = entries * 16 + 1
    header = replace(samples.SAMPLES["seek-table"].header, packet_frames=1, length=(1, packets)).to_bytes()
    record = b"\0" + varint(packets)
    record += b"\x01" * (entries - 10)
    record += binascii.crc_hqx(record, 0).to_bytes(2, "little")
    body = header + record
    data = body + zlib.crc32(body).to_bytes(4, "little") + (len(record) + 7).to_bytes(3, "little")

    def work():
        reader = MxcReader(BytesIO(data), "x")
        start = time.process_time()
        with pytest.raises(BitstreamError, match="too short for its"):
            reader.end()
        assert time.process_time() - start < 2

    assert peak_of(work) < 32 << 20


def test_a_rescue_ends(samples):
    """Where every byte begins what looks like a packet, and none is."""
    sample = replace(samples.SAMPLES["uniform-mono"], frames=4096, packet_frames=4096, books=3)
    header = sample.header.to_bytes()
    for junk in (b"\x90\x90\x01" * (1 << 14), b"\x04" * (1 << 16), random.Random(0).randbytes(1 << 16)):
        start = time.process_time()
        assert len(list(rescued_packets(MxcReader(BytesIO(header + junk), "x")))) <= 1
        assert time.process_time() - start < 30


@pytest.mark.parametrize(("size", "books", "channels"), [(65536, 1, 16), (65536, 16, 1), (1024, 64, 1)])
def test_the_slowest_packet_takes_seconds(samples, size, books, channels):
    """65 536 codes, as many different ones as are counted, coded by their counts."""
    from mixcodec.entropy import Adaptive

    frames = 65536 // books // channels
    codes = (np.arange(65536) % 4096 * 16 % size).reshape(frames, channels, books).swapaxes(0, 1)
    model = Adaptive(size)
    data = model.encode(codes[:, : frames // 8])
    start = time.process_time()
    model.decode(data, np.full(frames // 8, books), channels, books)
    assert time.process_time() - start < 5


def test_the_fuzzer_finds_nothing(tmp_path, monkeypatch):
    """A few runs here; docs/bitstream.md says how many there were, and how to repeat them."""
    import subprocess
    import sys

    script = Path(__file__).parent / "fuzz.py"
    done = subprocess.run(
        [sys.executable, script, "--runs", "300", "--seed", "1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "300 runs" in done.stdout
