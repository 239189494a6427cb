"""Frozen files, and a second decoder that was written from the specification: what is in a file is what the page says."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.bitstream import Layout, MxcReader, PacketStream
from mixcodec.errors import BitstreamError, ModelError

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.mxc"))
PAGE = Path(__file__).parents[2] / "docs" / "bitstream.md"
TABLES = (GOLDEN / "entropy.bin").read_bytes()


def golden(name):
    return (GOLDEN / f"{name}.mxc").read_bytes()


def nested(codes):
    """(C, T, K) as [frame][channel][book], without what is absent."""
    return [[[int(code) for code in row if code >= 0] for row in frame] for frame in codes.swapaxes(0, 1)]


def test_there_is_a_file_for_every_coding(samples):
    assert set(NAMES) == set(samples.SAMPLES)
    assert {sample.coding for sample in samples.SAMPLES.values()} == {1, 2, 3, 4}


@pytest.mark.parametrize("name", NAMES)
def test_frozen_files_are_read(samples, read, name):
    codes = read(golden(name))
    assert codes.dtype == np.int64
    np.testing.assert_array_equal(codes, samples.SAMPLES[name].codes())


@pytest.mark.parametrize("name", NAMES)
def test_frozen_files_are_still_written(samples, name):
    assert samples.SAMPLES[name].to_bytes() == golden(name)


def test_the_frozen_tables_are_still_written(samples):
    assert samples.made_tables().to_bytes() == TABLES


@pytest.mark.parametrize("name", NAMES)
def test_the_decoder_of_the_specification_reads_the_same(samples, plain, name):
    facts, sample = plain.read(golden(name), TABLES), samples.SAMPLES[name]
    header = MxcReader(BytesIO(golden(name)), name).header
    assert facts["codes"] == nested(sample.codes())
    assert facts["metadata"] == header.metadata == sample.metadata
    assert (facts["samples"], facts["frames"]) == (sample.sample_count or 320 * sample.frames, sample.frames)
    assert (facts["model"], facts["fingerprint"], facts["length"]) == (header.model, header.fingerprint, header.length)


@st.composite
def layouts(draw, books, packet_frames, packets):
    """Of `packets` packets; the last one may be shorter."""
    last = draw(st.integers(1, packet_frames))
    found = []
    for index in range(packets):
        frames = packet_frames if index < packets - 1 else last
        found.append(Layout(frames, *divmod(draw(st.integers(frames, frames * books)), frames)))
    return tuple(found)


@st.composite
def any_sample(draw, make):
    books, packet_frames = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    chosen = draw(layouts(books, packet_frames, draw(st.integers(1, 20))))
    coding = draw(st.integers(1, 4))
    return make(
        coding,
        channels=draw(st.integers(1, 3)),
        frames=sum(layout.frames for layout in chosen),
        books=books,
        packet_frames=packet_frames,
        size=draw(st.sampled_from([2, 3, 100, 1024])) if coding < 3 else 12,
        layouts=chosen,
        stream=draw(st.booleans()),
        metadata=draw(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=3)),
    )


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_both_decoders_read_what_the_writer_writes(samples, plain, read, data):
    sample = data.draw(any_sample(samples.Sample))
    file = sample.to_bytes()
    codes = sample.codes()
    kept = codes[:, :, : max(1, int((codes >= 0).sum(2).max()))]
    np.testing.assert_array_equal(read(file)[:, :, : kept.shape[2]], kept)
    facts = plain.read(file, TABLES)
    assert facts["codes"] == nested(codes)
    assert facts["metadata"] == sample.metadata


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_both_decoders_reject_the_same(samples, plain, read, forge, data):
    """Files whose checksums are right and whose fields are anything."""
    name = data.draw(st.sampled_from(NAMES))
    file = golden(name)
    start = data.draw(st.integers(3, len(file) - 1))
    stop = data.draw(st.integers(start, min(len(file), start + 4)))
    file = forge(file, start, stop, data.draw(st.binary(max_size=4)))
    try:
        codes = nested(read(file))
    except (BitstreamError, ModelError):  # ModelError: the tables do not fit
        codes = None
    try:
        facts = plain.read(file, TABLES)
        fits = facts["coding"] < 3 or (facts["codebook_size"] == 12 and facts["most"] <= 3)
        expected = facts["codes"] if fits else None
    except (plain.Rejected, IndexError):  # IndexError: other codebooks than the tables have
        expected = None
    assert codes == expected


def test_the_page_shows_a_frozen_file():
    block = PAGE.read_text(encoding="utf-8").split("## Example")[1].split("```")[1]
    lines = [re.match(r"(?:[0-9a-f]{2} ?)+", line) for line in block.strip().splitlines()]
    assert bytes.fromhex("".join(line.group() for line in lines if line)) == golden("context-two-of-three-books")


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_gives_the_same_packets(name):
    class Pipe:
        """Gives one byte at a time, and counts them."""

        def __init__(self, data):
            self.data, self.given = data, 0

        def read(self, count):
            assert count > 0
            piece = self.data[self.given : self.given + 1]
            self.given += len(piece)
            return piece

    file = golden(name)
    reader = MxcReader(BytesIO(file), name)
    pipe = Pipe(file)
    stream = PacketStream(pipe)
    assert (stream.header, pipe.given) == (reader.header, reader.first), "no byte beyond the header is waited for"
    for packet, expected in zip(stream, reader.packets(), strict=True):
        assert packet == file[expected.position : expected.position + expected.size]
        assert pipe.given == expected.position + expected.size, "no byte beyond the packet is waited for"
    assert stream.end == reader.end()
    assert pipe.given == len(file)
