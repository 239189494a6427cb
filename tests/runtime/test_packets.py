"""Streams of packets: their bytes are a file, lost ones are concealed, damaged ones are refused; the rate controller."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec import read_audio
from mixcodec.bitstream import Layout, PacketStream
from mixcodec.errors import BitstreamError, ModelError, RateError, TokensError, UsageError
from mixcodec.runtime import load
from mixcodec.runtime.files import read_mxc
from mixcodec.runtime.packets import MAX_GAP
from mixcodec.runtime.rate import RateControl, depth_for, depth_to_layout

EXAMPLES = Path(__file__).parents[2] / "examples"
STEP = 8000  # samples of a packet of half a second


def sent(codec, wave, sizes=None, **options):
    """The encoder, finished, and its packets; pushed in pieces of so many samples."""
    encoder = codec.packet_encoder(channels=None if wave.ndim == 1 else wave.shape[0], packet_seconds=0.5, **options)
    packets = []
    for piece in np.split(wave, np.cumsum(sizes or []).astype(int), axis=-1):
        packets += encoder.push(piece)
    return encoder, packets + encoder.finish()


def received(codec, header, packets, count=None):
    decoder = codec.packet_decoder(header, sample_count=count)
    return np.concatenate([*(decoder.push(packet) for packet in packets), decoder.finish()], axis=-1), decoder


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("options", [{}, {"codebooks": 2}, {"kbps": 2.0}])
def test_packets_are_a_file_and_the_plain_decode(tmp_path, tiny_codec, grid_wave, channels, options):
    wave = grid_wave(70000 if channels is None else (channels, 70000))
    encoder, packets = sent(tiny_codec, wave, **options)
    file = encoder.start + b"".join(packets) + encoder.end
    (tmp_path / "x.mxc").write_bytes(file)
    tokens = read_mxc(tmp_path / "x.mxc", tiny_codec)
    assert tokens.sample_count == 70000
    stream = PacketStream(BytesIO(file))
    assert list(stream) == packets
    assert stream.end.sample_count == 70000
    sound, decoder = received(tiny_codec, stream.header, packets, stream.end.sample_count)
    assert np.array_equal(sound, tiny_codec.tokens_to_wave(tokens))
    assert decoder.lost == 0
    if "kbps" not in options:
        whole = tiny_codec.wave_to_tokens(wave, 16000).with_codebooks(options.get("codebooks", 6))
        assert np.array_equal(tokens.codes, whole.codes)


@given(sizes=st.lists(st.integers(0, 30000), max_size=6))
@settings(max_examples=15, deadline=None)
def test_chunks_make_no_difference(tiny_codec, grid_wave, sizes):
    wave = grid_wave(40000)
    one, other = sent(tiny_codec, wave, codebooks=3), sent(tiny_codec, wave, sizes, codebooks=3)
    assert (one[1], one[0].end) == (other[1], other[0].end)


@given(lost=st.sets(st.integers(0, 19), max_size=8), silent=st.booleans())
@settings(max_examples=40, deadline=None)
def test_gaps_are_concealed_and_then_over(tiny_codec, grid_wave, lost, silent):
    """Right length; outside the gaps the undamaged sound, from two frames after each. `silent`: nobody says that one is lost."""
    wave = grid_wave(20 * STEP - 320) / 2
    encoder, packets = sent(tiny_codec, wave, codebooks=2)
    assert len(packets) == 20
    whole, _ = received(tiny_codec, encoder.header, packets, wave.size)
    given_ = [None if i in lost else packet for i, packet in enumerate(packets)]
    if silent:
        last = max((i for i in range(20) if i not in lost), default=-1)
        given_ = [packet for packet in given_[: last + 1] if packet is not None] + given_[last + 1 :]
    sound, decoder = received(tiny_codec, encoder.header, given_, wave.size)
    assert sound.shape == whole.shape
    assert decoder.lost == 25 * len(lost)
    for i in set(range(20)) - lost:
        first = i * STEP + (640 if i - 1 in lost else 0)
        assert np.array_equal(sound[first : (i + 1) * STEP - 320], whole[first : (i + 1) * STEP - 320]), i
    for i in lost:
        if i - 1 in lost:
            assert not sound[i * STEP : (i + 1) * STEP - 320].any()


def test_how_a_gap_is_asked_for_makes_no_difference(tiny_codec, grid_wave):
    codes = tiny_codec.wave_to_tokens(grid_wave(6 * STEP), 16000).codes
    sounds = []
    for pieces in ([60], [1] * 60, [7, 50, 3]):
        decoder = tiny_codec.stream_decoder()
        gap = [decoder.conceal(piece) for piece in pieces]
        sounds.append(np.concatenate([decoder.push(codes[:50]), *gap, decoder.push(codes[110:]), decoder.finish()]))
    for other in sounds[1:]:
        np.testing.assert_allclose(other, sounds[0], atol=1e-6)


def test_after_a_gap_the_shipped_model_comes_back():
    """Within 1e-3 of the undamaged sound once as many frames have come as its decoder reaches back: 124."""
    codec = load("speech-16k")
    speech = np.tile(np.concatenate([read_audio(path)[0] for path in sorted(EXAMPLES.glob("*.flac"))]), 3)[: 16000 * 10]
    encoder, packets = sent(codec, speech)
    whole, _ = received(codec, encoder.header, packets, speech.size)
    sound, _ = received(codec, encoder.header, [*packets[:5], None, *packets[6:]], speech.size)
    first, after = 5 * STEP, 6 * STEP
    warm = after + 125 * codec.hop
    assert np.array_equal(sound[: first - codec.delay], whole[: first - codec.delay])
    assert np.abs(sound[warm:] - whole[warm:]).max() < 1e-3
    assert np.abs(sound[first:after] - whole[first:after]).max() > 1e-3


def test_damaged_packets_are_refused_and_may_come_again(tiny_codec, grid_wave):
    encoder, packets = sent(tiny_codec, grid_wave(6 * STEP), codebooks=2)
    whole, _ = received(tiny_codec, encoder.header, packets)
    decoder = tiny_codec.packet_decoder(encoder.header)
    parts = [decoder.push(packets[0])]
    for bit in range(8 * len(packets[1])):
        bad = bytearray(packets[1])
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            decoder.push(bytes(bad))
    for bad in (b"", packets[1][:-1], packets[1] + b"x", encoder.end, packets[0], "packet", 3, [packets[1]]):
        with pytest.raises(BitstreamError):
            decoder.push(bad)
    parts += [decoder.push(kind(packet)) for packet, kind in zip(packets[1:], 9 * (bytes, bytearray, memoryview), strict=False)]
    assert np.array_equal(np.concatenate([*parts, decoder.finish()]), whole)


def test_packets_from_far_ahead_are_taken_for_damage(tiny_codec, grid_wave):
    encoder, packets = sent(tiny_codec, grid_wave((MAX_GAP + 3) * STEP), codebooks=1)
    decoder = tiny_codec.packet_decoder(encoder.header)
    decoder.push(packets[0])
    with pytest.raises(BitstreamError, match="damaged, or is not the packet number 1"):
        decoder.push(packets[MAX_GAP + 2])
    assert decoder.push(packets[MAX_GAP + 1]).shape == ((MAX_GAP + 1) * STEP,)


def test_other_codecs_and_impossible_options(tiny_codec, make_model, tmp_path, grid_wave):
    encoder, _ = sent(tiny_codec, grid_wave(STEP))
    other = load(make_model(tmp_path / "other", name="other", fingerprint="f" * 32))
    with pytest.raises(TokensError, match="not by other"):
        other.packet_decoder(encoder.header)
    with pytest.raises(UsageError, match="exclude"):
        tiny_codec.packet_encoder(kbps=2.0, codebooks=3)
    for codebooks in (0, 9):
        with pytest.raises(RateError):
            tiny_codec.packet_encoder(codebooks=codebooks)
    for seconds in (0, -1, 0.001, 1e9, float("nan")):
        with pytest.raises(UsageError, match="packets of"):
            tiny_codec.packet_encoder(packet_seconds=seconds)
    with pytest.raises((TokensError, ModelError)):
        received(tiny_codec, encoder.header, [], 16000)


def test_a_model_s_tables_make_the_files_smaller(make_model, tmp_path, grid_wave):
    """A folder with an entropy.bin: the coding is the context's, and another table is refused."""
    from mixcodec.entropy.learn import learn_tables

    wave = np.repeat(grid_wave(3000) / 4, 40)
    plain = load(make_model(tmp_path / "m"))
    codes = plain.wave_to_tokens(wave, 16000, codebooks=8).codes
    codec = load(make_model(tmp_path / "with"))
    (tmp_path / "with" / "entropy.bin").write_bytes(learn_tables([codes], 1024).to_bytes())
    encoder, packets = sent(codec, wave, codebooks=8)
    assert (encoder.header.coding, encoder.header.tables) == (4, codec.tables.fingerprint)
    assert sum(map(len, packets)) < sum(map(len, sent(plain, wave, codebooks=8)[1]))
    (tmp_path / "x.mxc").write_bytes(encoder.start + b"".join(packets) + encoder.end)
    assert np.array_equal(read_mxc(tmp_path / "x.mxc", codec).codes, codes)
    with pytest.raises(ModelError, match="needs entropy tables"):
        plain.packet_decoder(encoder.header)
    with pytest.raises(ModelError, match="needs entropy tables"):
        read_mxc(tmp_path / "x.mxc", plain)


@pytest.mark.parametrize("kbps", [0.8, 1.5, 2.5])
def test_a_stream_keeps_its_bitrate(tiny_codec, kbps):
    speech = np.tile(np.concatenate([read_audio(path)[0] for path in sorted(EXAMPLES.glob("*.flac"))]), 2)[: 16000 * 12]
    _, packets = sent(tiny_codec, speech, kbps=kbps)
    assert sum(map(len, packets)) * 8 / 12 / 1000 == pytest.approx(kbps, rel=0.05)


@given(
    kbps=st.floats(0.7, 4),
    costs=st.lists(st.floats(0.5, 1.3), min_size=8, max_size=40),
    known=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_the_controller_keeps_to_what_can_be_had(kbps, costs, known):
    """A signal whose codes cost what they will: the sum is what was asked for, or every packet is at a limit."""
    frames = 50
    control = RateControl(kbps, 50.0, 8, 1.0, 60, frames * len(costs) if known else None)
    spent, free = 60.0, False
    for cost in costs:
        layout = control.plan(frames)
        assert layout.frames == frames
        assert frames <= layout.codes <= 8 * frames
        free = frames < layout.codes < 8 * frames
        size = round(cost * layout.codes) + 4
        spent += size
        control.took(layout, size)
    asked = kbps * 125 * len(costs)
    if known and free:  # the last packet could still choose: what it misses is its own guess of the cost
        assert abs(spent - asked) < 1.7 * 400


@given(st.floats(1, 8), st.integers(1, 500))
def test_depths_and_layouts(depth, frames):
    layout = depth_to_layout(depth, frames)
    assert isinstance(layout, Layout)
    assert abs(layout.codes - depth * frames) <= 0.5
    assert 1 <= layout.codebooks + layout.more / frames <= 8


@given(st.floats(0, 3000), st.floats(0.7, 1.5), st.floats(1, 8))
def test_the_depth_that_buys_a_size(target, power, guess):
    depth, size = depth_for(target, lambda d: 200 * d**power, 8, guess)
    assert 1 <= depth <= 8
    assert size == 200 * depth**power
    low, high = 200, 200 * 8**power
    assert abs(size - min(max(target, low), high)) <= 0.02 * max(target, low)


def test_a_depth_of_nothing():
    assert 1 <= depth_for(100, lambda depth: 0, 8, 4)[0] <= 8
    assert 1 <= depth_for(-5, lambda depth: 0, 8, 4)[0] <= 8
