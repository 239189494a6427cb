"""Voicing and F0 against tones of which both are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio, resample
from mixcodec.evaluate.metrics.base import METRICS, UnscorableError
from mixcodec.evaluate.metrics.pitch import Pitch
from mixcodec.extras import MissingPartError
from mixcodec.judges import pitch as pitches
from mixcodec.judges.pitch import track_pitch

EXAMPLES = Path(__file__).parents[3] / "examples"
RATE = 16000


@pytest.fixture
def metric():
    pytest.importorskip("parselmouth", reason="the estimator is in mixcodec[eval-pitch]")
    return METRICS.build("pitch")


@pytest.fixture(scope="module")
def speech():
    return read_audio(EXAMPLES / "directory.flac")[0]


def score(metric, reference, wave):
    return metric.measure(metric.prepare(reference, RATE), wave, RATE)


def voice(f0):
    """A tone of 15 harmonics whose fundamental is `f0` (N,) Hz, and silent where that is 0."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    return (0.1 * (f0 > 0) * sum(np.sin(k * phase) / k for k in range(1, 16))).astype(np.float32)


def glide(seconds=2.0, octaves=1.0, start=120.0):
    return start * 2 ** (np.linspace(0, octaves, round(seconds * RATE)))


def test_finds_a_known_glide(metric):
    f0 = glide()
    times, found = track_pitch(voice(f0), RATE)
    margin = (len(f0) / RATE - (len(found) - 1) * 0.01) / 2  # Praat centres its frames
    np.testing.assert_allclose(times, margin + 0.01 * np.arange(len(found)), atol=1e-9)
    true = np.interp(times, np.arange(len(f0)) / RATE, f0)
    assert (found > 0).all()
    np.testing.assert_allclose(found, true, rtol=0.002)  # a sixteenth of a semitone


def test_an_identical_clip_is_the_best(metric, speech):
    once = score(metric, speech, speech)
    assert once["voicing_f1"] == 1.0
    assert once["f0_correlation"] == pytest.approx(1.0, abs=1e-12)
    assert {scale.name: once[scale.name] for scale in metric.scales[2:]} == {
        "f0_error": 0.0,
        "f0_gross": 0.0,
        "voicing_error": 0.0,
    }
    assert [scale.best for scale in metric.scales] == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_correlation_in_closed_form(metric):
    rising, falling = voice(glide()), voice(glide(octaves=-1.0, start=240.0))
    transposed = voice(glide(start=180.0))
    assert score(metric, rising, transposed)["f0_correlation"] == pytest.approx(1.0, abs=1e-3)
    assert score(metric, rising, falling)["f0_correlation"] == pytest.approx(-1.0, abs=1e-3)
    # A rise and fall of equal lengths against a rise is symmetric about its middle: uncorrelated.
    hill = np.concatenate([glide(1.0), glide(1.0)[::-1]])
    assert score(metric, rising, voice(hill))["f0_correlation"] == pytest.approx(0.0, abs=0.05)


def test_f1_in_closed_form(metric):
    whole = glide(2.0)
    half = np.where(np.arange(len(whole)) < len(whole) // 2, whole, 0)
    # Half of the voiced frames are found and none is false: precision 1, recall 1/2.
    values = score(metric, voice(whole), voice(half))
    assert values["voicing_f1"] == pytest.approx(2 * 0.5 / 1.5, abs=0.02)  # two frames at the edge
    assert values["voicing_error"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("cents", [-120, 25, 300])
def test_a_transposed_voice_is_off_by_that(metric, cents):
    f0 = glide(octaves=0.5)
    values = score(metric, voice(f0), voice(f0 * 2 ** (cents / 1200)))
    assert values["f0_error"] == pytest.approx(abs(cents), abs=2)
    assert values["f0_gross"] == 0


def test_octaves_are_gross_errors_and_not_in_the_fine_one(metric):
    f0 = glide(octaves=0.3)
    third = np.where(np.arange(len(f0)) < len(f0) // 3, 2 * f0, f0)
    values = score(metric, voice(f0), voice(third))
    assert values["f0_gross"] == pytest.approx(1 / 3, abs=0.02)
    assert values["f0_error"] < 5
    everywhere = score(metric, voice(f0), voice(2 * f0))
    assert everywhere["f0_gross"] == 1
    assert everywhere["f0_error"] == metric.scales[2].high, "no better than any error that is not gross"


def test_the_errors_of_planted_tracks():
    """By hand: of 14 frames two are voiced in one alone; of the eleven shared ones one is gross, and two are 100 cents off."""
    semitone = 2 ** (1 / 12)
    reference = np.array([100, 0, 100, 100, 100, 200, 200, 200, 200, 100, 0, 100, 100, 100.0])
    decoded = np.array([0, 90, 100 * semitone, 100 / semitone, 100, 200, 200, 200, 200, 130, 0, 100, 100, 100.0])
    errors = pitches.pitch_errors(reference, decoded)
    assert errors.gross == pytest.approx(1 / 11)
    assert errors.cents == pytest.approx(100 * np.sqrt(2 / 10))
    assert errors.voicing == pytest.approx(2 / 14)


def test_a_clip_played_at_another_speed_loses_its_melody(metric, speech):
    faster = resample(speech, 16000, 13600)
    shifted = np.pad(faster, (0, len(speech) - len(faster)))
    lost = score(metric, speech, shifted)
    noisy = speech + np.random.default_rng(0).normal(0, speech.std() / 3, speech.shape).astype(np.float32)
    kept = score(metric, speech, noisy)
    assert kept["f0_correlation"] > 0.95
    assert lost["f0_correlation"] < 0.5
    assert lost["voicing_f1"] < kept["voicing_f1"] < 1


def test_is_deterministic(metric, speech):
    assert score(metric, speech, speech * 0.5) == score(Pitch(), speech, speech * 0.5)


@pytest.mark.parametrize(
    ("reference", "wave", "reason"),
    [
        (np.zeros(RATE), np.zeros(RATE), "no voiced frame in the reference"),
        (np.zeros(0), np.zeros(0), "no voiced frame in the reference"),
        (voice(glide()), np.zeros(2 * RATE), "0 frames voiced in both"),
        (voice(glide(0.1)), voice(glide(0.1)), "frames voiced in both"),
        (np.random.default_rng(0).normal(0, 0.1, 3200), np.random.default_rng(1).normal(0, 0.1, 3200), "voiced"),
    ],
)
def test_odd_clips(metric, reference, wave, reason, capfd):
    with pytest.raises(UnscorableError, match=reason):
        score(metric, reference.astype(np.float32), wave.astype(np.float32))
    assert capfd.readouterr() == ("", "")


def test_a_pitch_that_does_not_move(metric, monkeypatch):
    still = pitches.Pitch(np.arange(50) / 100, np.full(50, 100.0))
    monkeypatch.setattr("mixcodec.evaluate.metrics.pitch.track_pitch", lambda wave, rate: still)
    with pytest.raises(UnscorableError, match="does not move"):
        score(metric, np.ones(RATE, np.float32), np.ones(RATE, np.float32))


def test_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    with pytest.raises(MissingPartError, match=r"^metric pitch needs parselmouth .*'mixcodec\[eval-pitch\]'$"):
        Pitch().check()
