import numpy as np
import pytest
import torch
from pystoi import stoi

from mixcodec.losses import Envelope


def speech_like(seed, seconds=3.0):
    """Noise whose bands rise and fall on their own at a few Hz."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 16000)
    t = np.arange(n) / 16000
    wave = np.zeros(n)
    for f in np.geomspace(150, 4000, 24):
        level = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 6) * t + rng.uniform(0, 6))
        wave += level**2 * np.sin(2 * np.pi * f * t + rng.uniform(0, 6))
    return 0.02 * wave


def measured(clean, coded):
    return float(Envelope(16000)(torch.tensor(coded)[None].float(), torch.tensor(clean)[None].float()))


def test_follows_stoi_as_noise_grows():
    """Against pystoi: the same order, and near its values where its clipping does not matter."""
    clean, noise = speech_like(0), np.random.default_rng(9).standard_normal(48000)
    ours, theirs = [], []
    for level in (0, 0.005, 0.02, 0.05, 0.2):
        ours.append(1 - measured(clean, clean + level * noise))
        theirs.append(stoi(clean, clean + level * noise, 16000))
    assert ours == sorted(ours, reverse=True)
    assert theirs == sorted(theirs, reverse=True)
    assert np.allclose(ours[:3], theirs[:3], atol=0.08), (ours, theirs)


def test_bounds():
    clean = speech_like(1)
    assert measured(clean, clean) == pytest.approx(0, abs=1e-4)
    assert measured(clean, 3 * clean) == pytest.approx(0, abs=1e-4), "level does not matter"
    assert measured(clean, speech_like(2)) > 0.5


def test_silence_and_short_waves_are_finite():
    silent = torch.zeros(2, 16000, requires_grad=True)
    loss = Envelope(16000)(silent, torch.zeros(2, 16000))
    loss.backward()
    assert loss.isfinite()
    assert silent.grad.isfinite().all()
    assert float(Envelope(16000)(torch.randn(1, 100), torch.randn(1, 100))) == 0
