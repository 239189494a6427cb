import numpy as np
import pytest
import torch

from mixcodec.losses import Spectral
from mixcodec.losses.spectral import mel_matrix

TERMS = ["mel", "magnitude", "complex", "phase"]


@pytest.fixture
def spectral():
    torch.manual_seed(0)
    return Spectral(16000).eval()


@pytest.fixture
def wave():
    return torch.randn(2, 8000, generator=torch.Generator().manual_seed(1)) * 0.1


def test_all_terms_are_zero_for_equal_waves(spectral, wave):
    assert all(abs(float(value)) < 5e-4 for value in spectral(wave, wave).values())


@pytest.mark.parametrize("term", TERMS)
def test_more_noise_is_further(spectral, wave, term):
    noise = torch.randn(wave.shape, generator=torch.Generator().manual_seed(2))
    values = [float(spectral(wave + level * noise, wave)[term]) for level in (0, 0.01, 0.03, 0.1)]
    assert values == sorted(values)
    assert values[-1] > 0.05


def test_half_the_amplitude_is_log_two_in_mel_and_no_phase(spectral, wave):
    found = spectral(wave / 2, wave)
    assert float(found["mel"]) == pytest.approx(np.log(2), abs=1e-3)
    assert float(found["magnitude"]) == pytest.approx((1 - 2**-0.3) ** 2, abs=1e-3)
    assert float(found["phase"]) == pytest.approx(0, abs=1e-3)


def test_inverted_polarity_is_all_phase_and_no_magnitude(spectral, wave):
    found = spectral(-wave, wave)
    assert float(found["phase"]) == pytest.approx(2, abs=1e-3)
    assert float(found["complex"]) == pytest.approx(4, abs=1e-2)
    assert float(found["magnitude"]) == pytest.approx(0, abs=1e-5)


def test_complex_below_a_frequency_hears_nothing_above(wave):
    low = Spectral(16000, complex_below=1000).eval()
    t = torch.arange(8000) / 16000
    tone = 0.05 * torch.sin(2 * torch.pi * 5000 * t)
    assert float(low(wave + tone, wave)["complex"]) < 0.02 < float(Spectral(16000).eval()(wave + tone, wave)["complex"])


def test_silence_has_finite_values_and_gradients(spectral):
    wave = torch.zeros(1, 4000, requires_grad=True)
    loss = sum(spectral(wave, torch.zeros(1, 4000)).values())
    loss.backward()
    assert loss.isfinite()
    assert wave.grad.isfinite().all()


@pytest.mark.parametrize(("window", "bands"), [(256, 20), (512, 40), (1024, 80), (128, 40)])
def test_mel_bands_are_weighted_means_with_rising_centres(window, bands):
    filters = mel_matrix(16000, window, bands)
    assert torch.allclose(filters.sum(0), torch.ones(bands), atol=1e-5)
    assert (filters >= 0).all()
    centres = (filters * torch.arange(window // 2 + 1)[:, None]).sum(0)
    assert (centres.diff() >= 0).all()


def test_a_tone_falls_into_the_band_of_its_mel():
    bands, window = 40, 512
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    tone = torch.fft.rfft(torch.sin(2 * torch.pi * 1000 * torch.arange(window) / 16000)).abs()
    expected = round(mel(1000) / mel(8000) * (bands + 1)) - 1
    assert abs(int((tone @ mel_matrix(16000, window, bands)).argmax()) - expected) <= 1
