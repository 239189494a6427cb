"""Harmonicity against pulse trains in noise, of which the ratio of harmonics to noise is known."""

from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio
from mixcodec.judges.bands import envelope, highpass
from mixcodec.judges.base import UnscorableError

pytest.importorskip("parselmouth", reason="the estimator is in mixcodec[eval-pitch]")
from mixcodec.judges.harmonicity import CUT_HZ, harmonicity, reference_harmonicity

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16000


def pulses(f0, seconds=1.5):
    """A pulse train (N,): all harmonics of `f0` Hz up to 8 kHz, equally strong."""
    times = np.arange(round(seconds * RATE)) / RATE
    return 0.01 * sum(np.cos(2 * np.pi * k * f0 * times) for k in range(1, int(RATE / 2 / f0)))


def above(wave, cut=CUT_HZ):
    """By a filter of its own: `wave` without any bin below `cut` Hz."""
    spectrum = np.fft.rfft(wave)
    spectrum[np.fft.rfftfreq(len(wave), 1 / RATE) < cut] = 0
    return np.fft.irfft(spectrum, len(wave))


def in_noise(voice, ratio, seed=0):
    """`voice` with noise above 1.5 kHz, `ratio` dB below what the voice has there."""
    noise = above(np.random.default_rng(seed).standard_normal(len(voice)))
    return voice + noise * above(voice).std() / noise.std() * 10 ** (-ratio / 20)


@pytest.mark.parametrize("f0", [110.0, 150.0, 220.0])
def test_is_the_known_ratio(f0):
    voice = pulses(f0)
    reference = reference_harmonicity(voice, RATE)
    ratios = [0.0, 5.0, 10.0, 15.0]
    found = [harmonicity(reference, in_noise(voice, ratio), RATE) for ratio in ratios]
    np.testing.assert_allclose(found, ratios, atol=1.5)  # estimated from one or two periods, of a second of noise


def test_of_noise_alone_it_is_well_below_zero():
    voice = pulses(150.0)
    noise = np.random.default_rng(1).standard_normal(len(voice))
    assert harmonicity(reference_harmonicity(voice, RATE), noise, RATE) < -3


def test_noise_below_the_band_does_not_count():
    voice = in_noise(pulses(150.0), 10.0)
    reference = reference_harmonicity(voice, RATE)
    noise = np.random.default_rng(2).standard_normal(len(voice))
    low = noise - above(noise, 700.0)
    hoarse = voice + low / low.std() * voice.std()
    assert harmonicity(reference, hoarse, RATE) == pytest.approx(reference.decibels, abs=0.3)


def test_of_the_reference_itself_it_is_the_references():
    speech = read_audio(EXAMPLES / "queue.flac")[0]
    reference = reference_harmonicity(speech, RATE)
    assert 0 < reference.frames.mean() < 1
    assert harmonicity(reference, speech, RATE) == pytest.approx(reference.decibels, abs=1e-6)
    assert harmonicity(reference, speech * 0.3, RATE) == pytest.approx(reference.decibels, abs=1e-6), "whatever its level"


def test_only_frames_that_are_voiced_in_the_reference_count():
    voice = pulses(150.0)
    half = len(voice) // 2
    noise = 0.5 * np.random.default_rng(3).standard_normal(half)
    reference = reference_harmonicity(np.concatenate([voice[:half], np.zeros(half)]), RATE)
    spoilt = np.concatenate([voice[:half], noise])
    assert harmonicity(reference, spoilt, RATE) > 15
    assert harmonicity(reference, np.concatenate([noise, voice[half:]]), RATE) < 0


def test_frames_that_the_decoder_leaves_silent_count_as_noise():
    voice = pulses(150.0)
    reference = reference_harmonicity(voice, RATE)
    gap = voice.copy()
    gap[: len(gap) // 2] = 0
    whole, holed = harmonicity(reference, voice, RATE), harmonicity(reference, gap, RATE)
    assert holed == pytest.approx((whole - 10) / 2, abs=2)


@pytest.mark.parametrize(
    ("reference", "wave", "reason"),
    [
        (np.zeros(RATE), np.zeros(RATE), "0 voiced frames"),
        (np.zeros(0), np.zeros(0), "0 voiced frames"),
        (np.random.default_rng(0).standard_normal(2000), np.ones(2000), "voiced frames"),
        (pulses(150.0), np.zeros(round(1.5 * RATE)), "silent"),
        (pulses(150.0), pulses(150.0, 0.5), "not as long"),
    ],
)
def test_what_has_no_value_says_why(reference, wave, reason):
    with pytest.raises(UnscorableError, match=reason):
        harmonicity(reference_harmonicity(reference, RATE), wave, RATE)


def test_the_filters_against_tones():
    times = np.arange(RATE) / RATE
    middle = slice(RATE // 4, -RATE // 4)
    for hertz, gain in ((750.0, 0.0039), (1500.0, 0.5), (3000.0, 0.996), (6000.0, 1.0)):  # 1 / (1 + (1500 / f) ** 8)
        tone = np.sin(2 * np.pi * hertz * times)
        np.testing.assert_allclose(highpass(tone, RATE, 1500.0)[middle], gain * tone[middle], atol=1e-3)
    for hertz, gain in ((1000.0, 0.0), (2000.0, 0.5), (3000.0, 1.0), (4000.0, 0.5), (7000.0, 0.0)):
        tone = 0.7 * np.sin(2 * np.pi * hertz * times)
        np.testing.assert_allclose(envelope(tone, RATE, 2000.0, 4000.0)[middle], 0.7 * gain, atol=2e-3)
