"""A bitrate means the same in all calls: it is filled, as that of a whole file or of a stream on average."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio, write_audio
from mixcodec.bitstream import MxcReader, bytes_to_tokens, tokens_to_bytes
from mixcodec.errors import RateError, UsageError
from mixcodec.runtime import encode_file, load, read_mxc, write_mxc
from mixcodec.tokens import ABSENT, Tokens

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def codec():
    return load("speech-16k")


@pytest.fixture(scope="module")
def speech():
    """Two clips, a pause and the clips again: 30 s at 16 kHz."""
    clips = [read_audio(EXAMPLES / name)[0] for name in ("directory.flac", "queue.flac")]
    return np.concatenate([*clips, np.zeros(3 * 16000, np.float32), *clips])


@pytest.mark.parametrize("kbps", [0.7, 1.5, 3.0, 4.0])
@pytest.mark.parametrize("seconds", [1, 6, 30])
def test_tokens_of_a_bitrate_are_those_of_the_file(tmp_path, codec, speech, kbps, seconds):
    """The same codes as `mixcodec encode --kbps`, and as large a file of them."""
    write_audio(tmp_path / "x.wav", speech[: seconds * 16000], 16000)
    made = encode_file(codec, tmp_path / "x.wav", tmp_path / "x.mxc", kbps)
    tokens = codec.wave_to_tokens(*read_audio(tmp_path / "x.wav"), kbps)
    assert tokens.codes.max(axis=0).min() > ABSENT, "no codebook stands there that no frame uses"
    kept = read_mxc(tmp_path / "x.mxc").codes
    assert np.array_equal(kept[:, : tokens.codebooks], tokens.codes)
    assert (kept[:, tokens.codebooks :] == ABSENT).all()
    write_mxc(tmp_path / "y.mxc", tokens)
    size = (tmp_path / "y.mxc").stat().st_size
    assert abs(size - made.file_bytes) <= max(4, 0.01 * made.file_bytes)
    if 1 <= kbps <= 3 and seconds > 1:
        assert size * 8 / seconds / 1000 == pytest.approx(kbps, rel=0.02)
    back = read_mxc(tmp_path / "y.mxc")
    assert back == tokens
    assert codec.tokens_to_wave(back).shape == (seconds * 16000,)


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_any_signal(tmp_path, tiny_codec, grid_wave, channels, rate):
    wave = grid_wave(12 * rate + 5 if channels is None else (channels, 12 * rate + 5))
    kbps = 1.7 * (channels or 1)
    tokens = tiny_codec.wave_to_tokens(wave, rate, kbps=kbps)
    everything = tiny_codec.wave_to_tokens(wave, rate, codebooks=8)
    assert np.array_equal(tokens.codes, np.where(tokens.codes == ABSENT, ABSENT, everything.codes[..., : tokens.codebooks]))
    write_mxc(tmp_path / "x.mxc", tokens)
    assert (tmp_path / "x.mxc").stat().st_size * 8 / tokens.seconds / 1000 == pytest.approx(kbps, rel=0.02)
    assert tokens.kbps == pytest.approx(kbps, rel=0.2)


def test_nothing_and_next_to_nothing(tiny_codec, grid_wave):
    for count in (0, 1, 320, 1000):
        tokens = tiny_codec.wave_to_tokens(grid_wave(count), 16000, kbps=1.0)
        assert tokens.sample_count == count
        assert tiny_codec.tokens_to_wave(tokens).shape == (count,)


def test_a_bitrate_out_of_reach(tiny_codec, grid_wave):
    for kbps in (0.4, 4.1, float("nan")):
        for call in (tiny_codec.wave_to_tokens, tiny_codec.encode_batch):
            with pytest.raises(RateError, match=r"out of range; tiny can do 0\.5 to 4 kbps for mono"):
                call(*(([grid_wave(9)], 16000) if call == tiny_codec.encode_batch else (grid_wave(9), 16000)), kbps=kbps)
    with pytest.raises(RateError, match="1 to 8 kbps for stereo"):
        tiny_codec.stream_encoder(channels=2, kbps=0.9)
    for call in (
        lambda **both: tiny_codec.wave_to_tokens(grid_wave(9), 16000, **both),
        tiny_codec.stream_encoder,
        tiny_codec.packet_encoder,
    ):
        with pytest.raises(UsageError, match="a bitrate and a number of codebooks exclude each other"):
            call(kbps=2, codebooks=3)


@pytest.mark.parametrize("kbps", [0.7, 1.5, 3.0])
@pytest.mark.parametrize("chunk", [1601, 50000])
def test_a_stream_keeps_to_a_bitrate_on_average(tmp_path, codec, speech, kbps, chunk):
    """It cannot know what comes, but its codes are those of the whole signal wherever it keeps them."""
    encoder = codec.stream_encoder(kbps=kbps)
    codes = np.concatenate([*(encoder.push(speech[at : at + chunk]) for at in range(0, len(speech), chunk)), encoder.finish()])
    everything = codec.wave_to_tokens(speech, 16000, codebooks=8).codes
    assert codes.shape == everything.shape
    assert (np.where(codes == ABSENT, everything, codes) == everything).mean() >= 0.999
    data = tokens_to_bytes(codec.codes_to_tokens(codes, sample_count=len(speech)), codec.tables)
    spent = sum(packet.size for packet in MxcReader(BytesIO(data), "x").packets())
    assert spent * 8 / (len(speech) / 16000) / 1000 == pytest.approx(kbps, rel=0.03)


def test_a_stream_of_codes_keeps_what_its_packets_would(codec, speech):
    """Two drivers, one control: a packet encoder with packets as long decides alike."""
    stream, packets = codec.stream_encoder(kbps=2.0), codec.packet_encoder(kbps=2.0, packet_seconds=4.0)
    codes = np.concatenate([stream.push(speech), stream.finish()])
    sent = packets.push(speech) + packets.finish()
    data = packets.start + b"".join(sent) + packets.end
    theirs = bytes_to_tokens(data, tables_for=lambda header: codec.tables).codes
    whole = len(codes) // 200 * 200
    counts = [(one[:whole] != ABSENT).sum(-1).reshape(-1, 200).mean(-1) for one in (codes, theirs)]
    assert np.abs(counts[0] - counts[1]).max() <= 0.05


def test_parts_of_a_bitrate_are_written(tmp_path, codec, speech):
    tokens = codec.wave_to_tokens(speech, 16000, kbps=1.5)
    for part in (tokens[37:600], tokens[:333], tokens[150:1000], Tokens.concatenate([tokens[500:], tokens[:123]])):
        write_mxc(tmp_path / "x.mxc", part)
        back = read_mxc(tmp_path / "x.mxc")
        assert np.array_equal(back.codes, part.codes[:, : back.codebooks])
        assert back.sample_count == part.sample_count
        with codec.open(tmp_path / "x.mxc") as file:
            assert np.abs(file.read(3, 4) - codec.tokens_to_wave(part)[48000:64000]).max() < 1e-3


def test_the_default_and_codebooks_are_untouched(codec, speech):
    """Every frame has as many codes; streams give just these."""
    wave = speech[:50000]
    for options, books in (({}, 6), ({"codebooks": 1}, 1), ({"codebooks": 8}, 8)):
        tokens = codec.wave_to_tokens(wave, 16000, **options)
        assert tokens.codes.shape[-1] == books
        assert tokens.codes.min() >= 0
        assert tokens.kbps == pytest.approx(books * 0.5)
        encoder = codec.stream_encoder(**options)
        codes = np.concatenate([*(encoder.push(wave[at : at + 999]) for at in range(0, len(wave), 999)), encoder.finish()])
        assert (codes == tokens.codes).mean() >= 0.999
