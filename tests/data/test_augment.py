import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.data import Augment
from mixcodec.data.augment import active_level, add_noise, add_room, flip_polarity, low_pass, set_level
from mixcodec.errors import DataError

from .conftest import RATE, tone


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_active_level_ignores_the_pauses() -> None:
    loud = tone(500, 1.0, amplitude=0.5)
    waves = np.stack([np.concatenate([loud, 0 * loud]), np.concatenate([loud, loud]), np.zeros(32000, np.float32)])
    assert active_level(waves, RATE)[:2] == pytest.approx([10 * np.log10(0.125)] * 2, abs=0.01)  # mean square a^2 / 2
    assert active_level(waves, RATE)[2] == -np.inf


def test_levels_are_uniform_over_the_range() -> None:
    waves = np.tile(tone(500, 0.1), (4000, 1)) * rng(1).uniform(0.01, 1, (4000, 1)).astype(np.float32)
    out = set_level(waves, RATE, rng(), (-32.0, -14.0))
    level = 10 * np.log10(np.square(out).mean(1))
    assert np.quantile(level, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([-32, -27.5, -23, -18.5, -14], abs=0.5)


def test_a_peak_is_never_clipped_but_turned_down() -> None:
    wave = tone(500, 1.0, amplitude=0.01)[None].copy()
    wave[0, 8000] = 0.5  # a click that forbids the gain
    out = set_level(wave, RATE, rng(), (-14.0, -14.0))
    assert np.abs(out).max() == pytest.approx(0.99, abs=1e-6)
    assert np.allclose(out / out[0, 8000], wave / wave[0, 8000], atol=1e-6)


def test_polarity() -> None:
    waves = np.tile(tone(500, 0.01), (1000, 1))
    assert np.array_equal(flip_polarity(waves, rng(), 1.0), -waves)
    assert np.array_equal(flip_polarity(waves, rng(), 0.0), waves)
    assert 0.42 < (flip_polarity(waves, rng(), 0.5)[:, 1] < 0).mean() < 0.58  # 5 standard deviations


@pytest.mark.parametrize("snr", [10.0, 40.0])
def test_noise_has_the_ratio_asked_for(snr: float) -> None:
    waves = np.tile(tone(500, 2.0), (5, 1))
    noise = add_noise(waves, RATE, rng(), 1.0, (snr, snr)) - waves
    ratio = 10 * np.log10(np.square(waves).mean(1) / np.square(noise).mean(1))
    assert ratio == pytest.approx([snr] * 5, abs=0.05)


def test_noise_leaves_silence_and_unchosen_rows() -> None:
    silence = np.zeros((3, 8000), np.float32)
    assert np.array_equal(add_noise(silence, RATE, rng(), 1.0, (10, 40)), silence)
    waves = np.tile(tone(500, 0.5), (400, 1))
    changed = (add_noise(waves, RATE, rng(), 0.25, (10, 40)) != waves).any(1).mean()
    assert 0.15 < changed < 0.35


@pytest.mark.parametrize("rt60", [0.1, 0.6])
def test_a_room_keeps_the_direct_path_and_decays_as_asked(rt60: float) -> None:
    impulse = np.zeros((20, RATE), np.float32)
    impulse[:, 100] = 1.0
    response = add_room(impulse, RATE, rng(), 1.0, (rt60, rt60))[:, 100:]
    assert response[:, 0] == pytest.approx(np.ones(20), abs=1e-5)
    assert np.abs(response[:, 1:32]).max() < 1e-5  # nothing for the first 2 ms
    ratio = -10 * np.log10(np.square(response[:, 1:]).sum(1))
    assert ((ratio > 2.9) & (ratio < 15.1)).all()
    energy = np.cumsum(np.square(response[:, ::-1]).mean(0))[::-1]  # Schroeder's backward integral
    decay = 10 * np.log10(energy[320:] / energy[320])  # from 20 ms on
    from_5, to_25 = np.argmax(decay < -5), np.argmax(decay < -25)
    assert 3 * (to_25 - from_5) / RATE == pytest.approx(rt60, rel=0.1)


def test_low_pass_removes_what_is_above_only() -> None:
    noise = rng(1).standard_normal((4, RATE)).astype(np.float32) * np.float32(0.1)
    before, after = (np.abs(np.fft.rfft(w)) for w in (noise, low_pass(noise, RATE, rng(), 1.0, (4000, 4000))))
    assert np.abs(after[:, 4001:]).max() < 1e-3 * before.max()
    assert np.allclose(after[:, :3590], before[:, :3590], rtol=1e-3, atol=1e-3)
    assert np.array_equal(low_pass(noise, RATE, rng(), 1.0, (8000, 9000)), noise)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    samples=st.integers(1, 3000),
    amplitude=st.sampled_from([0.0, 1e-6, 0.1, 1.0]),
    p=st.sampled_from([0.0, 0.5, 1.0]),
    rate=st.sampled_from([8000, 16000, 48000]),
)
def test_whatever_comes_in_stays_in_range_and_repeats(seed: int, samples: int, amplitude: float, p: float, rate: int) -> None:
    wave = (amplitude * rng(seed).uniform(-1, 1, (3, samples))).astype(np.float32)
    before = wave.copy()
    augment = Augment(p_noise=p, p_room=p, p_lowpass=p, p_flip=p)
    out = augment(wave, rate, rng(seed))
    assert (out.shape, out.dtype) == (wave.shape, np.float32)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1
    assert np.array_equal(augment(wave, rate, rng(seed)), out)
    assert np.array_equal(wave, before)  # the argument is left alone


@pytest.mark.parametrize(
    "options",
    [
        {"p_noise": 1.5},
        {"p_flip": -0.1},
        {"level_dbfs": (-10, -20)},
        {"level_dbfs": (-10, 3)},
        {"rt60": (0, 1)},
        {"snr_db": (1,)},
    ],
    ids=str,
)
def test_impossible_settings_are_data_errors(options: dict) -> None:
    with pytest.raises(DataError, match=next(iter(options))):
        Augment(**options)
