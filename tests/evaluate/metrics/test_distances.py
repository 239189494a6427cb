"""Each distance against the same formula, written another way."""

import numpy as np
import pytest
import torch

from mixcodec.evaluate.metrics import METRICS

RATE = 16000


@pytest.fixture
def pair(speech, noise):
    return speech, (0.8 * speech + 0.2 * noise[: len(speech)]).astype(np.float32)


def measured(kind, one, other, rate=RATE):
    metric = METRICS.build(kind)
    return next(iter(metric.measure(metric.prepare(one, rate), other, rate).values()))


def test_si_sdr(pair):
    """By the angle between the two signals: SDR = cot^2."""
    x, y = (w.astype(np.float64) - w.mean(dtype=np.float64) for w in pair)
    cosine = x @ y / np.sqrt((x @ x) * (y @ y))
    assert measured("si_sdr", *pair) == pytest.approx(10 * np.log10(cosine**2 / (1 - cosine**2)), abs=1e-6)
    assert measured("si_sdr", pair[0], 3 * pair[1]) == pytest.approx(measured("si_sdr", *pair), abs=1e-4)
    assert measured("si_sdr", pair[0], pair[0]) == 100


def test_si_sdr_of_a_worked_case():
    """Orthogonal unit parts 10:1 in amplitude are 20 dB."""
    t = np.arange(RATE) / RATE
    sine, cosine = np.sin(2 * np.pi * 100 * t), np.cos(2 * np.pi * 100 * t)
    assert measured("si_sdr", sine.astype(np.float32), (sine + 0.1 * cosine).astype(np.float32)) == pytest.approx(20, abs=1e-3)


def test_stft(pair):
    """By torch.stft, as the paper's own code does it."""
    x, y = (torch.from_numpy(w.astype(np.float64)) for w in pair)
    total = 0.0
    for size, hop, window in ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200)):
        a, b = (
            torch.stft(w, size, hop, window, torch.hann_window(window, dtype=torch.float64), return_complex=True)
            .abs()
            .clamp(min=1e-5)
            for w in (x, y)
        )
        total += float(torch.linalg.norm(a - b) / torch.linalg.norm(a) + (a.log() - b.log()).abs().mean())
    assert measured("stft", *pair) == pytest.approx(total / 3, rel=1e-4)


def test_lsd(pair):
    x, y = (torch.from_numpy(w.astype(np.float64)) for w in pair)
    window = torch.hann_window(512, dtype=torch.float64)
    a, b = (
        10 * torch.log10(torch.stft(w, 512, 128, window=window, return_complex=True).abs().square().clamp(min=1e-10))
        for w in (x, y)
    )
    assert measured("lsd", *pair) == pytest.approx(float((a - b).square().mean(0).sqrt().mean()), rel=1e-9)


def test_mel(pair):
    """By torch.stft and triangles drawn with numpy.interp."""
    freqs = np.fft.rfftfreq(1024, 1 / RATE)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), 82) / 2595) - 1)
    bank = np.stack([np.interp(freqs, edges[i : i + 3], [0, 1, 0]) for i in range(80)], axis=1)
    logs = []
    for wave in pair:
        window = torch.hann_window(1024, dtype=torch.float64)
        spectrum = torch.stft(
            torch.from_numpy(wave.astype(np.float64)), 1024, 256, window=window, center=False, return_complex=True
        )
        logs.append(np.log(np.maximum(spectrum.abs().numpy().T @ bank, 1e-5)))
    assert measured("mel", *pair) == pytest.approx(np.abs(logs[0] - logs[1]).mean(), rel=1e-6)
