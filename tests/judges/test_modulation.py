"""Modulation at the frame rate against noise whose envelope is known."""

import numpy as np
import pytest

from mixcodec.judges.base import UnscorableError
from mixcodec.judges.modulation import modulation

RATE = 16000


def noise(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def beating(wave, hertz, depth):
    """`wave` (N,) times 1 + `depth` cos."""
    return wave * (1 + depth * np.cos(2 * np.pi * hertz * np.arange(len(wave)) / RATE))


def in_closed_form(hertz, depth, frame_rate=50.0, band=2000.0):
    """dB of the line over the noise, of Gaussian noise in a band, modulated with `depth`.

    Its envelope is Rayleigh's: of mean sqrt(pi / 2) and variance 2 - pi / 2. The line has the power (depth x mean)^2 / 2, seen
    through a Hann window whose noise bandwidth is 1.5 bins; the fluctuation has a triangular spectrum from 0 to the band's width.
    """
    line = (depth**2 * np.pi / 2) / 2 / (1.5 * frame_rate / 25)
    density = 2 * (2 - np.pi / 2) / band * (1 - hertz / band)
    return 10 * np.log10(1 + line / density)


def test_unmodulated_noise_has_none():
    np.testing.assert_allclose(modulation(noise(60.0), RATE), 0.0, atol=1.0)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("depth", [0.1, 0.2, 0.4])
def test_a_planted_modulation_in_closed_form(number, depth):
    found = modulation(beating(noise(20.0), 50.0 * number, depth), RATE)
    assert found[number - 1] == pytest.approx(in_closed_form(50.0 * number, depth), abs=1.2)
    np.testing.assert_allclose(np.delete(found, number - 1), 0.0, atol=1.8)  # 20 s of noise: a deviation of 0.6


@pytest.mark.parametrize("frame_rate", [12.5, 40.0, 75.0])
def test_another_frame_rate(frame_rate):
    wave = beating(noise(20.0 * 50 / frame_rate), 2 * frame_rate, 0.3)
    found = modulation(wave, RATE, frame_rate)
    assert found[1] == pytest.approx(in_closed_form(2 * frame_rate, 0.3, frame_rate), abs=1.2)
    assert abs(found[0]) < 2


def test_beside_the_frame_rate_it_counts_as_a_neighbour():
    found = modulation(beating(noise(20.0), 58.0, 0.4), RATE)
    assert found[0] < -5


def test_other_bands_and_the_level_do_not_count():
    wave = noise(5.0)
    assert modulation(wave * 1e-4, RATE) == pytest.approx(modulation(wave, RATE), abs=1e-6)
    times = np.arange(len(wave)) / RATE
    low = 30 * (1 + np.cos(2 * np.pi * 50 * times)) * np.cos(2 * np.pi * 500 * times)
    assert modulation(wave + low, RATE) == pytest.approx(modulation(wave, RATE), abs=0.3)


def test_pauses_do_not_count():
    wave = noise(6.0)
    wave[2 * RATE : 4 * RATE] = 1e-6 * beating(noise(2.0, 1), 50.0, 1.0)
    assert modulation(wave, RATE)[0] < 4


@pytest.mark.parametrize(
    ("wave", "reason"),
    [(np.zeros(2 * RATE), "silent"), (np.zeros(0), "shorter than 1 s"), (noise(0.99), "shorter than 1 s")],
)
def test_what_has_no_value_says_why(wave, reason):
    with pytest.raises(UnscorableError, match=reason):
        modulation(wave, RATE)
