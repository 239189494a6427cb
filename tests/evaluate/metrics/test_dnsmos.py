"""DNSMOS: the package's own function is the oracle."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio
from mixcodec.evaluate.metrics.base import METRICS, UnscorableError
from mixcodec.evaluate.metrics.opinion import Dnsmos
from mixcodec.extras import MissingPartError
from mixcodec.judges.dnsmos import WINDOW, _log_mel, _windows

EXAMPLES = Path(__file__).parents[3] / "examples"
RATE = 16000


@pytest.fixture(scope="module")
def speech():
    return read_audio(EXAMPLES / "queue.flac")[0]


@pytest.fixture
def metric():
    pytest.importorskip("speechmos", reason="the networks of DNSMOS are in mixcodec[eval]")
    return METRICS.build("dnsmos")


def score(metric, wave):
    return metric.measure(metric.prepare(wave, RATE), wave, RATE)


def noisy(wave, level, seed=0):
    return wave + np.random.default_rng(seed).normal(0, level, wave.shape).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.2, 9.02, 12.5])
def test_agrees_with_the_authors_function(metric, speech, seconds):
    pytest.importorskip("librosa", reason="the package's own function computes its spectrogram with librosa")
    dnsmos = pytest.importorskip("speechmos.dnsmos", reason="its own function needs librosa and requests")
    wave = noisy(np.tile(speech, 2)[: round(seconds * RATE)], 0.003)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = dnsmos.run(wave, RATE)
    ours = score(metric, wave)
    # Single precision in the networks and in librosa's spectrogram; the table shows three decimals.
    for name, key in (("sig", "sig_mos"), ("bak", "bak_mos"), ("ovrl", "ovrl_mos"), ("p808", "p808_mos")):
        assert ours[f"dnsmos_{name}"] == pytest.approx(float(theirs[key]), abs=1e-4)


def test_the_spectrogram_is_librosas(speech):
    librosa = pytest.importorskip("librosa", reason="the oracle of the spectrogram")
    wave = np.tile(speech, 2)[: WINDOW - 160]
    power = librosa.feature.melspectrogram(y=wave, sr=RATE, n_fft=321, hop_length=160, n_mels=120)
    theirs = (librosa.power_to_db(power, ref=np.max) + 40) / 40
    np.testing.assert_allclose(_log_mel(wave), theirs.T, atol=1e-3)  # single precision far below the loudest cell


@pytest.mark.parametrize(("seconds", "starts"), [(4.0, [0, 1, 2, 3, 4, 5, 6]), (9.5, [0]), (10.5, [0]), (12.0, [0, 1, 2])])
def test_windows(seconds, starts):
    wave = np.arange(round(seconds * RATE), dtype=np.float32)
    windows = _windows(wave)
    assert [len(window) for window in windows] == [WINDOW] * len(starts)
    doubled = np.tile(wave, 4)
    for window, start in zip(windows, starts, strict=True):
        assert np.array_equal(window, doubled[start * RATE :][:WINDOW])


def test_noise_lowers_it_and_the_background_most(metric, speech):
    clean, bad = score(metric, speech), score(metric, noisy(speech, 0.03))
    lost = {name: clean[name] - bad[name] for name in clean}
    assert lost["dnsmos_ovrl"] > 0.3
    assert lost["dnsmos_bak"] > 0.5
    assert lost["dnsmos_p808"] > 0.2


def test_is_deterministic_and_within_its_scales(metric, speech):
    once, again = score(metric, speech), score(Dnsmos(), speech)
    assert once == again
    assert list(once) == [scale.name for scale in metric.scales]
    assert all(scale.low <= once[scale.name] <= scale.high for scale in metric.scales)


def test_beyond_full_scale_is_clipped(metric, speech):
    assert score(metric, speech * 30) == score(metric, np.clip(speech * 30, -1, 1))


@pytest.mark.parametrize("wave", [np.zeros(16000), np.zeros(1), np.random.default_rng(0).normal(0, 0.1, 3200)])
def test_odd_clips(metric, wave, capfd):
    assert np.isfinite(list(score(metric, wave.astype(np.float32)).values())).all()
    assert capfd.readouterr() == ("", "")


def test_an_empty_clip(metric):
    with pytest.raises(UnscorableError, match="empty"):
        score(metric, np.zeros(0, np.float32))


def test_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "speechmos", None)
    with pytest.raises(MissingPartError, match=r"^metric dnsmos needs speechmos .*'mixcodec\[eval\]'$"):
        Dnsmos().check()
