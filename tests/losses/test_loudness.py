from pathlib import Path

import numpy as np
import pytest
import torch
from pesq import pesq
from scipy.stats import pearsonr, spearmanr

from mixcodec import load, read_audio
from mixcodec.audio import resample
from mixcodec.losses import Loudness

RATE = 16000
EXAMPLES = Path(__file__).parents[2] / "examples"


def measured(clean, coded):
    return float(Loudness(RATE)(torch.tensor(coded)[None], torch.tensor(clean)[None]))


def degraded(clean, rng):
    """The clip through the codec at four rates, with noise at two levels, and without its upper band."""
    codec = load("speech-16k")
    for codebooks in (1, 3, 6, 8):
        yield codec.tokens_to_wave(codec.wave_to_tokens(clean, RATE, codebooks=codebooks))
    for decibels in (15, 30):
        yield clean + (rng.standard_normal(len(clean)) * clean.std() * 10 ** (-decibels / 20)).astype(np.float32)
    yield resample(resample(clean, RATE, 7000), 7000, RATE)[: len(clean)]


def test_follows_pesq():
    """Against the package pesq, on its raw scale (the inverse of P.862.2's map), over unlike kinds of damage."""
    rng, ours, theirs = np.random.default_rng(0), [], []
    for path in sorted(EXAMPLES.glob("*.flac")):
        clean = read_audio(path)[0][: 5 * RATE]
        for coded in degraded(clean, rng):
            ours.append(4.5 - measured(clean, coded))
            theirs.append((3.8224 - np.log(4 / (pesq(RATE, clean, coded, "wb") - 0.999) - 1)) / 1.3669)
    assert pearsonr(ours, theirs).statistic > 0.95, list(zip(ours, theirs, strict=True))
    assert spearmanr(ours, theirs).statistic > 0.95


def test_bounds():
    clean = read_audio(next(EXAMPLES.glob("*.flac")))[0][: 2 * RATE]
    assert measured(clean, clean) == pytest.approx(0, abs=0.02)  # the root's small constant, so that its gradient is finite
    assert measured(clean, 2 * clean) == pytest.approx(0, abs=0.02), "level is forgiven"
    assert measured(clean, np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)) > 1.5


def test_its_gradient_does_not_drift_in_level():
    """Where the value forgives a change of level, its gradient must not ask for one: their product is 0."""
    clean = torch.tensor(read_audio(next(EXAMPLES.glob("*.flac")))[0][: 2 * RATE])[None]
    estimate = (clean + 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))).requires_grad_(True)
    loss = Loudness(RATE)(estimate, clean)
    loss.backward()
    along = float((estimate.grad * estimate.detach()).sum())
    assert abs(along) < 0.02 * float(loss.detach())


def test_silence_and_short_waves_are_finite():
    silent = torch.zeros(2, RATE, requires_grad=True)
    loss = Loudness(RATE)(silent, torch.zeros(2, RATE))
    loss.backward()
    assert loss.isfinite()
    assert silent.grad.isfinite().all()
    assert float(Loudness(RATE)(torch.randn(1, 100), torch.randn(1, 100))) == 0
