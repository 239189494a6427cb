"""Waves and sample rates as people have them: what is taken for what, and what is refused."""

import warnings

import numpy as np
import pytest
import soundfile
import torch

from mixcodec.audio import check_sample_rate, check_wave, read_audio, resample, write_audio
from mixcodec.errors import AudioError, MixcodecWarning

WAVE = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)
STEREO = np.stack([WAVE, WAVE[::-1]])
FROZEN = WAVE.copy()
FROZEN.flags.writeable = False


@pytest.mark.parametrize(
    "given",
    [
        WAVE.astype(np.float64),
        WAVE.astype(np.longdouble),
        WAVE.astype(">f4"),
        WAVE.astype(">f8"),
        WAVE.tolist(),
        FROZEN,
        np.repeat(WAVE, 2)[::2],
        WAVE[::-1].copy()[::-1],
        memoryview(WAVE),
        torch.tensor(WAVE),
        torch.tensor(WAVE).double().requires_grad_(),
    ],
    ids=lambda given: f"{type(given).__name__}-{getattr(given, 'dtype', '')}",
)
def test_floats_are_taken_as_they_are(given):
    taken = check_wave(given)
    assert (taken.dtype, taken.dtype.isnative) == (np.float32, True)
    assert np.array_equal(taken, WAVE)


@pytest.mark.parametrize(("subtype", "kind"), [("PCM_U8", np.uint8), ("PCM_16", np.int16), ("PCM_32", np.int32)])
@pytest.mark.parametrize(
    "make", [np.asarray, torch.tensor, lambda pcm: pcm.astype(pcm.dtype.newbyteorder())], ids=["numpy", "torch", "swapped"]
)
def test_integers_are_what_a_wav_file_holds(tmp_path, subtype, kind, make):
    """libsndfile is the oracle: it writes the very integers and reads them as floats."""
    edges = np.array([np.iinfo(kind).min, np.iinfo(kind).max, 0, 1])
    pcm = np.concatenate([edges, np.random.default_rng(0).integers(edges[0], edges[1], 996)]).astype(kind)
    if kind == np.uint8:
        pcm16 = (pcm.astype(np.int16) - 128) * 256
        soundfile.write(tmp_path / "x.wav", pcm16, 16000, subtype=subtype)
    else:
        soundfile.write(tmp_path / "x.wav", pcm, 16000, subtype=subtype)
    assert np.array_equal(check_wave(make(pcm)), read_audio(tmp_path / "x.wav")[0])


@pytest.mark.parametrize(
    "given",
    [[], np.zeros((2, 0)), np.zeros((1, 3)), np.zeros((2, 1)), np.zeros((8, 3)), np.zeros((255, 300)), torch.zeros(12, 0)],
)
def test_short_and_empty_waves_are_channels_first(given):
    assert check_wave(given).shape == np.shape(given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (STEREO.T, r"looks like \(N, C\): give its transpose, wave.T, of shape \(2, 500\)"),
        (torch.tensor(STEREO.T), "give its transpose"),
        (WAVE[:, None], r"wave.T, of shape \(1, 500\)"),
        (np.zeros((9, 8)), "looks like"),
        (np.zeros((256, 300)), "has 256 channels"),
        (np.zeros((0, 5)), "has 0 channels"),
        (np.float32(1), r"shape \(N,\) or \(C, N\), not float32 \(\)"),
        (WAVE[None, None], "to encode_batch as a list"),
        (np.zeros(5, np.int64), "floats of full scale 1, or int16, int32 or uint8 PCM, not int64"),
        ([1, 2, 3], "not int64"),
        (np.zeros(5, np.uint16), "not uint16"),
        (np.zeros(5, np.int8), "not int8"),
        (np.zeros(5, bool), "not bool"),
        (np.zeros(5, complex), "not complex128"),
        (np.array(["1"]), "not <U1"),
        (np.zeros(5, object), "not object"),
        (np.zeros(5, "m8[s]"), "not timedelta64"),
        (None, "not object"),
        ("talk.wav", "not <U8"),
        ([[1.0], [1.0, 2.0]], "lists of equal lengths"),
        (np.float32([0, np.nan]), "sample 1 is NaN or infinite"),
        (np.array([0, 1e300]), "sample 1 is NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_wave(given, told):
    with pytest.raises(AudioError, match=told) as failure:
        check_wave(given)
    assert "\n" not in str(failure.value)


def test_floats_in_the_range_of_integers_are_warned_of():
    for scale in (8.5, 32767):
        with pytest.warns(MixcodecWarning, match="divide 16-bit samples by 32768"):
            assert np.array_equal(check_wave(WAVE / np.abs(WAVE).max() * scale), np.float32(WAVE / np.abs(WAVE).max() * scale))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_wave(WAVE * 4)  # beyond full scale, as loud mixes are


@pytest.mark.parametrize(
    "rate", [48000, np.int32(48000), np.uint16(48000), np.float32(48000), 48000.0, torch.tensor(48000), np.array(48000)]
)
def test_a_sample_rate_of_any_type(tmp_path, rate):
    assert (check_sample_rate(rate, "x"), type(check_sample_rate(rate, "x"))) == (48000, int)
    write_audio(tmp_path / "x.wav", WAVE, rate)
    assert read_audio(tmp_path / "x.wav")[1] == 48000
    assert np.array_equal(resample(WAVE, rate, 16000), resample(WAVE, 48000, 16000))
    assert np.array_equal(resample(WAVE, 16000, rate), resample(WAVE, 16000, 48000))


@pytest.mark.parametrize(
    "rate", [44100.5, float("nan"), float("inf"), "48000", None, True, 1j, [48000], np.array([48000]), 999, 768001, -1, 10**400]
)
def test_what_is_no_sample_rate(tmp_path, rate):
    with pytest.raises(AudioError, match="a sample rate"):
        check_sample_rate(rate, "x")
    with pytest.raises(AudioError, match="a sample rate"):
        write_audio(tmp_path / "x.wav", WAVE, rate)
    assert not (tmp_path / "x.wav").exists()
    if rate not in (999,):
        with pytest.raises(AudioError, match="a sample rate to resample between must be a whole number"):
            resample(WAVE, rate, 16000)
