"""Streaming equals offline, for chunks of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.errors import AudioError, TokensError
from mixcodec.runtime import stream

HOP = 320


def pieces(array: np.ndarray, size: int, axis: int) -> list[np.ndarray]:
    return np.split(array, range(size, array.shape[axis], size), axis=axis)


def encoded(codec, wave, chunks, rate=None):
    encoder = codec.stream_encoder(channels=None if wave.ndim == 1 else wave.shape[0], sample_rate=rate)
    codes = [encoder.push(chunk) for chunk in chunks]
    codes.append(encoder.finish())
    assert encoder.sample_count == wave.shape[-1]
    return np.concatenate(codes, axis=-2)


@pytest.mark.parametrize("frames", [1, 3, 50])
@pytest.mark.parametrize("channels", [None, 2])
def test_encoding_in_chunks_of_frames(tiny_codec, grid_wave, frames, channels):
    wave = grid_wave(40000 if channels is None else (channels, 40000))
    offline = tiny_codec.wave_to_tokens(wave, 16000).codes
    assert np.array_equal(encoded(tiny_codec, wave, pieces(wave, frames * HOP, -1)), offline)


@pytest.mark.parametrize("frames", [1, 3, 50])
@pytest.mark.parametrize("channels", [None, 2])
def test_decoding_in_chunks_of_frames(tiny_codec, grid_wave, frames, channels):
    wave = grid_wave(40000 if channels is None else (channels, 40000))
    tokens = tiny_codec.wave_to_tokens(wave, 16000)
    offline = tiny_codec.tokens_to_wave(tokens)
    decoder = tiny_codec.stream_decoder(channels=channels, sample_count=40000)
    parts = [decoder.push(chunk) for chunk in pieces(tokens.codes, frames, -2)]
    streamed = np.concatenate([*parts, decoder.finish()], axis=-1)
    np.testing.assert_allclose(streamed, offline, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=8), st.sampled_from([16000, 44100]))
def test_any_chunks_of_samples(tiny_codec, grid_wave, lengths, rate):
    wave = grid_wave(sum(lengths))
    offline = tiny_codec.wave_to_tokens(wave, rate).codes
    streamed = encoded(tiny_codec, wave, np.split(wave, np.cumsum(lengths)), rate)
    assert streamed.shape == offline.shape
    assert (streamed == offline).mean() >= 0.999 if offline.size else True
    if rate == 16000:
        assert np.array_equal(streamed, offline)


def test_the_size_of_the_inner_blocks_does_not_matter(tiny_codec, grid_wave, monkeypatch):
    wave = grid_wave((2, 30000))
    tokens = tiny_codec.wave_to_tokens(wave, 16000)
    again = tiny_codec.tokens_to_wave(tokens)
    monkeypatch.setattr(stream, "BLOCK_FRAMES", 7)
    assert tiny_codec.wave_to_tokens(wave, 16000) == tokens
    np.testing.assert_allclose(tiny_codec.tokens_to_wave(tokens), again, atol=1e-6)


def test_the_first_frame_comes_at_once(tiny_codec, grid_wave):
    encoder = tiny_codec.stream_encoder()
    assert encoder.push(grid_wave(HOP - 1)).shape == (0, 6)
    assert encoder.push(grid_wave(1)).shape == (1, 6)
    decoder = tiny_codec.stream_decoder()
    codes = tiny_codec.wave_to_tokens(grid_wave(3 * HOP), 16000).codes
    assert [decoder.push(codes[i : i + 1]).shape for i in range(3)] == [(0,), (HOP,), (HOP,)]


def test_nothing_in_nothing_out(tiny_codec):
    assert tiny_codec.stream_encoder(channels=2).finish().shape == (2, 0, 6)
    assert tiny_codec.stream_decoder(channels=2, sample_count=0).finish().shape == (2, 0)


def test_misuse(tiny_codec, grid_wave):
    encoder = tiny_codec.stream_encoder(channels=2)
    for chunk in (grid_wave(10), grid_wave((3, 10)), np.float32([[np.nan], [0]])):
        with pytest.raises(AudioError):
            encoder.push(chunk)
    encoder.finish()
    with pytest.raises(AudioError, match="finished"):
        encoder.push(grid_wave((2, 10)))
    decoder = tiny_codec.stream_decoder(sample_count=1000)
    for codes in (np.zeros((1, 2, 3), int), np.zeros((2, 9), int), np.full((2, 3), 1024), np.full((2, 3), -1)):
        with pytest.raises(TokensError):
            decoder.push(codes)
    with pytest.raises(TokensError, match="1000 samples before"):
        decoder.finish()
    with pytest.raises(TokensError, match="finished"):
        decoder.push(np.zeros((1, 1), int))
