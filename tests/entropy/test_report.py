"""The command that says what the entropy models are worth."""

import numpy as np

from mixcodec.evaluate.entropy import book_bits, measure, report


def clips(size=5):
    return [np.random.default_rng(frames).integers(0, size, (frames, 3)) for frames in (1, 64, 150)]


def test_what_is_measured_is_what_files_hold(build):
    packets = [clip[None] for clip in clips()]
    model = build("context")
    spent, encode, decode = measure(model, packets)
    assert spent == sum(len(model.encode(codes)) for codes in packets)
    assert min(encode, decode) >= 0
    asked = sum(book_bits(model, packets)) * sum(codes.shape[1] for codes in packets)
    assert asked - 8 <= 8 * spent <= asked * 1.01 + 32 * len(packets)


def test_the_report_has_a_row_for_each_model_and_codebook(make_tables):
    lines = report(clips(), 5, make_tables()).splitlines()
    assert lines[0] == "645 codes in 5 packets"
    assert [line.split()[0] for line in lines[2:6]] == ["adaptive", "context", "static", "uniform"]
    assert np.log2(5) < float(lines[5].split()[1]) < np.log2(5) + 5 * 32 / 645  # at most four bytes a packet
    assert [line.split()[0] for line in lines[7:]] == ["1", "2", "3"]


def test_a_model_without_tables_has_two_kinds():
    lines = report(clips(), 5, None).splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["adaptive", "uniform"]
    assert len(lines) == 4 + 1 + 3
