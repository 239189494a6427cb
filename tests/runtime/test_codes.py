"""Bare codes to sound, parts of tokens, batches."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.audio import read_audio, resampled_count
from mixcodec.errors import AudioError, RateError, TokensError, UsageError
from mixcodec.runtime import load, read_mxc, write_mxc
from mixcodec.runtime.batch import usable_cores
from mixcodec.tokens import Tokens

HOP = 320
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("channels", [None, 1, 2])
@pytest.mark.parametrize("books", [1, 6, 8])
@pytest.mark.parametrize("rate", [None, 16000, 44100])
def test_codes_are_the_sound_of_their_tokens(tiny_codec, grid_wave, channels, books, rate):
    wave = grid_wave(5000 if channels is None else (channels, 5000))
    tokens = tiny_codec.wave_to_tokens(wave, rate or 16000, codebooks=books)
    sound = tiny_codec.tokens_to_wave(tokens)
    assert np.array_equal(tiny_codec.codes_to_wave(tokens.codes, rate, 5000), sound)
    everything = tiny_codec.codes_to_wave(tokens.codes, rate)
    inner = tokens.frames * HOP - HOP
    assert everything.shape == (*wave.shape[:-1], resampled_count(inner, 16000, rate or 16000))
    assert np.abs(everything[..., :4900] - sound[..., :4900]).max() < 1e-3
    for codes in (tokens.codes.astype(np.uint16), tokens.codes.tolist(), torch.tensor(tokens.codes, dtype=torch.int32)):
        assert np.array_equal(tiny_codec.codes_to_wave(codes, rate), everything)


@given(frames=st.integers(0, 300), books=st.integers(1, 8), channels=st.sampled_from([None, 1, 3]))
@settings(max_examples=40, deadline=None)
def test_any_number_of_frames(tiny_codec, frames, books, channels):
    shape = (frames, books) if channels is None else (channels, frames, books)
    codes = np.random.default_rng(0).integers(0, 1024, shape)
    wave = tiny_codec.codes_to_wave(codes)
    assert (wave.shape, wave.dtype) == ((*shape[:-2], max(0, frames - 1) * HOP), np.float32)
    tokens = tiny_codec.codes_to_tokens(codes)
    assert np.array_equal(tokens.codes, codes)
    assert np.array_equal(tiny_codec.tokens_to_wave(tokens), wave)
    decoder = tiny_codec.stream_decoder(channels=channels)
    pieces = [decoder.push(codes[..., at : at + 7, :]) for at in range(0, frames, 7)]
    assert np.array_equal(np.concatenate([*pieces, decoder.finish()], axis=-1), wave)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_codes_become_a_file(tmp_path, tiny_codec, rate):
    codes = np.random.default_rng(0).integers(0, 1024, (2, 77, 5))
    tokens = tiny_codec.codes_to_tokens(torch.tensor(codes), rate)
    write_mxc(tmp_path / "x.mxc", tokens)
    assert read_mxc(tmp_path / "x.mxc") == tokens
    assert tiny_codec.tokens_to_wave(tokens).shape == (2, 76 * HOP * rate // 16000)
    assert tiny_codec.codes_to_tokens(codes, rate, tokens.sample_count - 5).sample_count == tokens.sample_count - 5


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        (np.zeros((20, 9), int), "k 1 to 8"),
        (np.zeros((5, 0), int), "k 1 to 8"),
        (np.zeros((8, 50), int), r"look like \(k, T\): give \(T, k\), which is \(50, 8\)"),
        (np.zeros((2, 3, 50), int), r"which is \(2, 50, 3\)"),
        (np.zeros(5, int), r"must be of shape \(T, k\) or \(C, T, k\), not \(5,\)"),
        (np.zeros((1, 1, 5, 8), int), "must be of shape"),
        (np.full((5, 8), 1024), "0..1023"),
        (np.full((5, 8), -1), "absent"),
        (np.full((5, 8), 1.0), "codes must be integers, not float64"),
        (np.zeros((256, 5, 8), int), "channels must be a whole number from 1 to 255"),
    ],
)
def test_what_is_not_decoded(tiny_codec, codes, told):
    with pytest.raises((TokensError, AudioError), match=told):
        tiny_codec.codes_to_wave(codes)
    with pytest.raises((TokensError, AudioError), match=rf"items\[1\]: .*{told}|{told}"):
        tiny_codec.decode_batch([np.zeros((3, 8), int), codes])


def test_other_mistakes(tiny_codec):
    codes = np.zeros((5, 8), int)
    with pytest.raises(TokensError, match="the codes end 720 samples before"):
        tiny_codec.codes_to_wave(codes, sample_count=2000)
    with pytest.raises(TokensError, match="5 frames where 9000 samples take"):
        tiny_codec.codes_to_tokens(codes, sample_count=9000)
    for count in (-1, 2.5, "7", True):
        with pytest.raises(AudioError, match="sample_count must be a whole number"):
            tiny_codec.codes_to_wave(codes, sample_count=count)
    with pytest.raises(TokensError, match="bare codes go to codes_to_wave"):
        tiny_codec.tokens_to_wave(codes)


@given(
    start=st.integers(0, 60),
    stop=st.integers(0, 60),
    rate=st.sampled_from([8000, 11025, 16000, 44100]),
    count=st.integers(1, 18000),
)
@settings(max_examples=60, deadline=None)
def test_every_part_decodes(tiny_codec, grid_wave, start, stop, rate, count):
    tokens = tiny_codec.wave_to_tokens(grid_wave(count), rate, codebooks=2)
    part = tokens[start:stop]
    assert tiny_codec.tokens_to_wave(part).shape == (part.sample_count,)
    joined = Tokens.concatenate([part, tokens, part])
    assert tiny_codec.tokens_to_wave(joined).shape == (joined.sample_count,)


@pytest.mark.parametrize("channels", [None, 2])
def test_a_part_sounds_as_in_the_whole(tiny_codec, grid_wave, channels):
    """The tiny decoder remembers one frame: with one more before it, bit for bit."""
    wave = grid_wave(20000 if channels is None else (channels, 20000))
    tokens = tiny_codec.wave_to_tokens(wave, 16000)
    whole = tiny_codec.tokens_to_wave(tokens)
    for start, stop in ((1, 20), (17, 40), (30, tokens.frames)):
        warm = tiny_codec.tokens_to_wave(tokens[start - 1 : stop])[..., HOP:]
        part = tokens[start:stop]
        assert warm.shape[-1] == part.sample_count > 0
        assert np.array_equal(warm, whole[..., start * HOP :][..., : part.sample_count])
        cold = tiny_codec.tokens_to_wave(part)
        assert cold.shape == warm.shape
        assert np.array_equal(cold[..., HOP:], warm[..., HOP:])


def test_a_part_at_another_rate_begins_where_its_frame_does(tiny_codec):
    time = np.arange(3 * 44100) / 44100
    wave = (0.7 * np.sin(2 * np.pi * 3 * time)).astype(np.float32)
    tokens = tiny_codec.wave_to_tokens(wave, 44100)
    whole, part = tiny_codec.tokens_to_wave(tokens), tiny_codec.tokens_to_wave(tokens[50:])
    assert len(part) == len(whole) - 44100
    assert np.abs(part[2000:-2000] - whole[44100:][2000:-2000]).max() < 1e-3


def test_a_part_of_speech_sounds_as_in_the_whole():
    """The shipped model, whose decoder looks back up to 124 frames."""
    codec = load("speech-16k")
    tokens = codec.wave_to_tokens(*read_audio(EXAMPLES / "directory.flac"))
    whole = codec.tokens_to_wave(tokens)
    part = codec.tokens_to_wave(tokens[200 - 128 : 300])[128 * HOP :]
    assert len(part) == tokens[200:300].sample_count
    assert np.abs(part - whole[200 * HOP :][: len(part)]).max() < 1e-3


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
@pytest.mark.parametrize("options", [{}, {"codebooks": 3}, {"kbps": 2.5}])
def test_a_batch_is_each_wave_alone(tiny_codec, grid_wave, threads, options):
    waves = [grid_wave(shape, seed) for seed, shape in enumerate([0, 1, 7000, 40000, (2, 9000), 320, (1, 5), 12345])]
    waves += [(grid_wave(3000) * 32767).astype(np.int16), torch.tensor(grid_wave(2000)), grid_wave(100).tolist()]
    alone = [tiny_codec.wave_to_tokens(wave, 16000, **options) for wave in waves]
    made = tiny_codec.encode_batch(iter(waves), 16000, threads=threads, **options)
    assert made == alone
    sounds = tiny_codec.decode_batch(made, threads=threads)
    assert all(np.array_equal(sound, tiny_codec.tokens_to_wave(one)) for sound, one in zip(sounds, alone, strict=True))
    bare = tiny_codec.decode_batch([one.codes for one in made], 8000, threads=threads)
    assert all(np.array_equal(one, tiny_codec.codes_to_wave(each.codes, 8000)) for one, each in zip(bare, alone, strict=True))


def test_each_wave_of_a_batch_may_have_its_rate(tiny_codec, grid_wave):
    waves, rates = [grid_wave(4000, seed) for seed in range(4)], [8000, 16000, 44100, 48000]
    alone = [tiny_codec.wave_to_tokens(wave, rate) for wave, rate in zip(waves, rates, strict=True)]
    for given_rates in (rates, tuple(rates), np.array(rates), torch.tensor(rates)):
        assert tiny_codec.encode_batch(waves, given_rates) == alone
    array = np.stack(waves)
    assert tiny_codec.encode_batch(array, np.int32(16000)) == [tiny_codec.wave_to_tokens(wave, 16000) for wave in array]
    codes = np.stack([tokens.codes for tokens in tiny_codec.encode_batch(array, 16000)])
    for sound, one in zip(tiny_codec.decode_batch(torch.tensor(codes)), codes, strict=True):
        assert np.array_equal(sound, tiny_codec.codes_to_wave(one))
    assert tiny_codec.encode_batch([], 16000) == tiny_codec.decode_batch([]) == []


def test_mistakes_in_a_batch(tiny_codec, grid_wave):
    wave = grid_wave(100)
    for bad, told in (
        (np.zeros((500, 2)), r"waves\[1\]: shape .*waves\[1\].T"),
        (np.full(9, np.nan), r"waves\[1\]: sample 0"),
        (3, r"waves\[1\]"),
    ):
        with pytest.raises(AudioError, match=told):
            tiny_codec.encode_batch([wave, bad, wave], 16000, threads=2)
    for bad in (wave, "talk.wav", None, {1: wave}, tiny_codec.wave_to_tokens(wave, 16000)):
        with pytest.raises((UsageError, AudioError)):
            tiny_codec.encode_batch(bad, 16000)
    with pytest.raises(UsageError, match="2 sample rates for 3 waves"):
        tiny_codec.encode_batch([wave] * 3, [16000, 8000])
    with pytest.raises(AudioError, match=r"waves\[0\]: a sample rate must be"):
        tiny_codec.encode_batch([wave], "16000")
    with pytest.raises(UsageError, match="exclude each other"):
        tiny_codec.encode_batch([wave], 16000, kbps=2, codebooks=3)
    for threads in (0, -1, 1.5, "2", True):
        with pytest.raises(UsageError, match="threads must be a whole number"):
            tiny_codec.encode_batch([wave] * 2, 16000, threads=threads)
    for threads in (-1, 1.5, "2", None):
        with pytest.raises(UsageError, match="threads must be a whole number"):
            load("speech-16k", threads=threads)


def test_a_batch_runs_side_by_side(tiny_codec, grid_wave, monkeypatch):
    """No wave waits for the one before it: each goes on only once all have begun."""
    together = threading.Barrier(4, timeout=30)
    usual = type(tiny_codec)._wave_to_tokens
    monkeypatch.setattr(type(tiny_codec), "_wave_to_tokens", lambda *given: together.wait() >= 0 and usual(*given))
    assert len(tiny_codec.encode_batch([grid_wave(500)] * 4, 16000, threads=4)) == 4
    assert usable_cores() >= 1


def test_the_first_failure_ends_a_batch(tiny_codec, grid_wave):
    waves = [grid_wave(100)] * 50
    waves[3] = np.float32([np.inf])
    waves[7] = np.float32([np.nan])
    with pytest.raises(AudioError, match=r"waves\[3\]"):
        tiny_codec.encode_batch(waves, 16000, threads=3)


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.float64, float, torch.tensor, np.array])
def test_numbers_of_any_type(tiny_codec, grid_wave, kind):
    wave, stereo = grid_wave(48000), grid_wave((2, 9000))
    rate = kind(48000) if kind != np.uint8 else np.uint16(48000)
    tokens = tiny_codec.wave_to_tokens(wave, 48000, codebooks=3)
    given = tiny_codec.wave_to_tokens(wave, rate, codebooks=kind(3))
    assert given == tokens
    assert type(given.sample_rate) is int
    assert tiny_codec.wave_to_tokens(wave, 48000, kind(2)) == tiny_codec.wave_to_tokens(wave, 48000, 2)
    encoder = tiny_codec.stream_encoder(channels=kind(2), sample_rate=rate, codebooks=kind(3))
    codes = np.concatenate([encoder.push(stereo), encoder.finish()], axis=-2)
    assert np.array_equal(codes, tiny_codec.wave_to_tokens(stereo, 48000, codebooks=3).codes)
    decoder = tiny_codec.stream_decoder(channels=kind(2), sample_rate=rate, sample_count=kind(200))
    assert np.concatenate([decoder.push(codes), decoder.finish()], axis=-1).shape == (2, 200)
    decoder = tiny_codec.stream_decoder(sample_rate=rate)
    whole = np.concatenate([decoder.push(tokens.codes), decoder.conceal(kind(2)), decoder.finish()])
    assert len(whole) == (tokens.frames + 1) * HOP * 3
    starts = []
    for options in (
        {"channels": kind(2), "sample_rate": rate, "kbps": kind(2)},
        {"channels": 2, "sample_rate": 48000, "kbps": 2},
    ):
        packets = tiny_codec.packet_encoder(**options)
        starts.append(packets.start + b"".join(packets.push(stereo) + packets.finish()) + packets.end)
    assert starts[0] == starts[1]
    receiver = tiny_codec.packet_decoder(packets.header, sample_count=kind(0))
    assert receiver.finish().shape == (2, 0)


@pytest.mark.parametrize("bad", [44100.5, float("nan"), "48000", True, 1j, [48000], object()])
def test_numbers_that_are_none(tiny_codec, grid_wave, bad):
    wave, codes = grid_wave(100), np.zeros((3, 8), int)
    for call in (
        lambda: tiny_codec.wave_to_tokens(wave, bad),
        lambda: tiny_codec.stream_encoder(sample_rate=bad),
        lambda: tiny_codec.stream_encoder(channels=bad),
        lambda: tiny_codec.stream_decoder(sample_rate=bad),
        lambda: tiny_codec.stream_decoder(channels=bad),
        lambda: tiny_codec.stream_decoder(sample_count=bad),
        lambda: tiny_codec.packet_encoder(sample_rate=bad),
        lambda: tiny_codec.packet_encoder(channels=bad),
        lambda: tiny_codec.codes_to_wave(codes, bad),
        lambda: tiny_codec.codes_to_tokens(codes, bad),
    ):
        with pytest.raises(AudioError) as failure:
            call()
        assert "\n" not in str(failure.value)
    for call in (
        lambda: tiny_codec.wave_to_tokens(wave, 16000, codebooks=bad),
        lambda: tiny_codec.wave_to_tokens(wave, 16000, bad),
        lambda: tiny_codec.stream_encoder(codebooks=bad),
        lambda: tiny_codec.packet_encoder(kbps=bad),
    ):
        with pytest.raises(RateError):
            call()


def test_rates_and_channels_are_given_by_name(tiny_codec):
    """Before, 3.0 kbps and 16000 Hz could change places unseen."""
    for call in (tiny_codec.stream_encoder, tiny_codec.stream_decoder, tiny_codec.packet_encoder):
        with pytest.raises(TypeError, match="positional"):
            call(2)
    with pytest.raises(TypeError, match="positional"):
        tiny_codec.packet_decoder(tiny_codec.packet_encoder().header, 100)
