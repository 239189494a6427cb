"""The offline codec: lengths, alignment, rates, errors."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.errors import AudioError, ModelError, RateError, TokensError
from mixcodec.runtime import load
from mixcodec.runtime.stream import frames_for

HOP = 320


@settings(max_examples=80, deadline=None)
@given(
    count=st.one_of(st.integers(0, 3 * HOP), st.integers(0, 20000)),
    rate=st.sampled_from([8000, 11025, 16000, 44100, 48000]),
    channels=st.sampled_from([None, 1, 2, 3]),
)
def test_the_length_that_comes_out_is_the_length_that_went_in(tiny_codec, grid_wave, count, rate, channels):
    wave = grid_wave(count if channels is None else (channels, count))
    tokens = tiny_codec.wave_to_tokens(wave, rate)
    assert tokens.codes.shape == (*wave.shape[:-1], tokens.frames, 6)
    again = tiny_codec.tokens_to_wave(tokens)
    assert again.shape == wave.shape
    assert again.dtype == np.float32


def test_frames():
    for count in range(1, 3 * HOP + 1):
        frames = frames_for(count, HOP, HOP)
        assert (frames - 1) * HOP < count + HOP <= frames * HOP
    assert frames_for(0, HOP, HOP) == 0


@pytest.mark.parametrize("rate", [16000, 48000, 11025])
def test_what_comes_out_stands_where_it_stood(tiny_codec, rate):
    time = np.arange(2 * rate) / rate
    wave = (0.7 * np.sin(2 * np.pi * 3 * time) * np.hanning(time.size)).astype(np.float32)
    again = tiny_codec.tokens_to_wave(tiny_codec.wave_to_tokens(wave, rate))
    shifts = range(-rate // 50, rate // 50 + 1, rate // 1000)
    middle = slice(rate // 10, -rate // 10)
    likeness = {shift: float(np.dot(np.roll(again, shift)[middle], wave[middle])) for shift in shifts}
    assert abs(max(likeness, key=likeness.get)) <= rate // 1000
    assert np.corrcoef(again, wave)[0, 1] > 0.99


def test_channels_do_not_mix(tiny_codec, grid_wave):
    wave = grid_wave((3, 5000))
    together = tiny_codec.wave_to_tokens(wave, 16000).codes
    alone = [tiny_codec.wave_to_tokens(channel, 16000).codes for channel in wave]
    assert np.array_equal(together, np.stack(alone))


def test_the_first_codebooks_are_a_lower_rate(tiny_codec, grid_wave):
    wave = grid_wave(5000)
    full = tiny_codec.wave_to_tokens(wave, 16000, codebooks=8)
    low = tiny_codec.wave_to_tokens(wave, 16000, codebooks=2)
    assert full.with_codebooks(2) == low
    assert np.array_equal(tiny_codec.tokens_to_wave(full.with_codebooks(2)), tiny_codec.tokens_to_wave(low))


@pytest.mark.parametrize(
    ("kbps", "channels", "codebooks"),
    [
        (None, 1, 6),
        (0.5, 1, 1),
        (0.99, 1, 1),
        (1.0, 1, 2),
        (1.5, 1, 3),
        (3.0, 1, 6),
        (4.0, 1, 8),
        (3.0, 2, 3),
        (8, 2, 8),
    ],
)
def test_bitrates(tiny_codec, kbps, channels, codebooks):
    assert tiny_codec.codebooks_for(kbps, channels) == codebooks


@pytest.mark.parametrize("kbps", [0.49, 4.01, 0, -1, float("nan"), float("inf")])
def test_bitrates_out_of_range(tiny_codec, kbps):
    with pytest.raises(RateError, match=r"0\.5 to 4 kbps for mono"):
        tiny_codec.codebooks_for(kbps)
    with pytest.raises(RateError, match=r"1\.5 to 12 kbps for 3 channels"):
        tiny_codec.codebooks_for(100, 3)


def test_bad_waves(tiny_codec):
    for wave in (np.float32([np.nan]), np.zeros((1, 1, 1), np.float32), np.zeros(5, np.int64)):
        with pytest.raises(AudioError):
            tiny_codec.wave_to_tokens(wave, 16000)
    with pytest.raises(AudioError, match="sample rate"):
        tiny_codec.wave_to_tokens(np.zeros(5, np.float32), 5)


def test_foreign_tokens_are_refused(tiny_codec, make_model, tmp_path, grid_wave):
    other = load(make_model(tmp_path / "other", name="other", fingerprint="f" * 32))
    tokens = other.wave_to_tokens(grid_wave(1000), 16000)
    with pytest.raises(TokensError, match=f"other {'f' * 32}.*tiny {tiny_codec.fingerprint}"):
        tiny_codec.tokens_to_wave(tokens)


def test_tokens_of_another_length_are_refused(tiny_codec, grid_wave):
    from dataclasses import replace

    tokens = tiny_codec.wave_to_tokens(grid_wave(1000), 16000)
    for change in ({"sample_count": 10000}, {"sample_count": 1}, {"frame_rate": 25.0}, {"codebook_size": 2048}):
        with pytest.raises(TokensError):
            tiny_codec.tokens_to_wave(replace(tokens, **change))


def test_more_threads_give_the_same(tiny_model, tiny_codec, grid_wave):
    wave = grid_wave(9000)
    assert load(tiny_model, threads=2).wave_to_tokens(wave, 16000) == tiny_codec.wave_to_tokens(wave, 16000)


def test_unknown_models(tmp_path):
    with pytest.raises(ModelError, match="unknown model"):
        load("speach-16k")
    with pytest.raises(ModelError, match="not a model folder"):
        load(tmp_path)


def test_the_nearest_model_is_named(monkeypatch):
    from mixcodec import models

    monkeypatch.setattr(models, "shipped_models", lambda: ["music-44k", "speech-16k"])
    with pytest.raises(ModelError, match="did you mean 'speech-16k'"):
        models.find_model("speach16")


def test_broken_model_folders(make_model, tmp_path):
    changes = {"format": 2, "name": "a/b", "hop": 0, "delay": -1, "default_codebooks": 9, "fingerprint": "x"}
    for key, value in changes.items():
        with pytest.raises(ModelError):
            load(make_model(tmp_path / "m", **{key: value}))
    for state in ([], {"tail": {}}, {"tail": {"shape": ["x"]}}, {"tail": {"shape": [1], "dtype": "float64"}}):
        with pytest.raises(ModelError, match="encoder_state"):
            load(make_model(tmp_path / "m", encoder_state=state))
    folder = make_model(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    del config["hop"]
    for text in ("{", "[]", json.dumps(config)):
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelError):
            load(folder)


def test_broken_graphs(make_model, tmp_path, grid_wave):
    folder = make_model(tmp_path / "m", encoder_state={})
    with pytest.raises(ModelError, match="do not match"):
        load(folder).wave_to_tokens(grid_wave(10), 16000)
    folder = make_model(tmp_path / "m")
    (folder / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder).wave_to_tokens(grid_wave(10), 16000)
    (folder / "encoder.onnx").unlink()
    with pytest.raises(ModelError, match="no such file"):
        load(folder).wave_to_tokens(grid_wave(10), 16000)
