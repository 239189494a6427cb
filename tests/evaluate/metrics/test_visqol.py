"""ViSQOL: what its authors publish of perfect copies, and laws; the published values of their files are in the docs."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio, resample
from mixcodec.evaluate.metrics.base import METRICS, UnscorableError
from mixcodec.evaluate.metrics.visqol import VisqolAudio, VisqolSpeech
from mixcodec.extras import MissingPartError

EXAMPLES = Path(__file__).parents[3] / "examples"
KINDS = ["visqol_speech", "visqol_audio"]
PERFECT = {"visqol_speech": 5.0, "visqol_audio": 4.732101253042348}
"""conformance.h of ViSQOL 3.3.3: 4.015861169223797, scaled by 1.245063; and kConformanceCastanetsIdentity."""


@pytest.fixture(params=KINDS)
def metric(request):
    metric = METRICS.build(request.param)
    try:
        metric.check()
    except MissingPartError:
        pytest.skip("ViSQOL is in mixcodec[eval-visqol]")
    return metric


def clip(metric, seconds=3.0):
    wave, rate = read_audio(EXAMPLES / "directory.flac")
    return resample(wave[: round(seconds * rate)], rate, metric.sample_rate)


def noisy(wave, level):
    return wave + np.random.default_rng(0).normal(0, level, wave.shape).astype(np.float32)


def score(metric, reference, wave):
    prepared = metric.prepare(reference, metric.sample_rate)
    return metric.measure(prepared, wave, metric.sample_rate)[metric.kind]


def test_an_identical_clip_is_the_best(metric):
    wave = clip(metric)
    value = score(metric, wave, wave)
    assert value == pytest.approx(PERFECT[metric.kind], abs=1e-4)  # the tolerance of the authors' own conformance test
    assert value == pytest.approx(metric.scales[0].best, abs=1e-6)


def test_is_the_packages_value(metric):
    from visqol import VisqolApi

    wave = clip(metric)
    api = VisqolApi()
    api.create(mode=metric.kind.removeprefix("visqol_"), use_lattice_model=False)
    theirs = api.measure_from_arrays(wave, noisy(wave, 0.01), metric.sample_rate).moslqo
    assert score(metric, wave, noisy(wave, 0.01)) == pytest.approx(theirs, abs=1e-6)


def test_more_noise_is_worse(metric):
    wave = clip(metric)
    values = [score(metric, wave, noisy(wave, level)) for level in (0, 0.001, 0.01, 0.1)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 1
    assert all(metric.scales[0].low <= value <= metric.scales[0].high for value in values)


def test_loudness_and_a_short_delay_are_not_heard(metric):
    wave = clip(metric)
    assert score(metric, wave, wave / 2) == pytest.approx(metric.scales[0].best, abs=1e-3)
    late = np.roll(wave, metric.sample_rate // 40)
    assert score(metric, wave, late) > metric.scales[0].best - 0.1


def test_is_deterministic(metric):
    wave = clip(metric)
    again = score(type(metric)(), wave, noisy(wave, 0.01))
    assert score(metric, wave, noisy(wave, 0.01)) == pytest.approx(again, rel=1e-12)  # sums are cut as memory happens to lie


def test_odd_clips(metric, capfd):
    wave = clip(metric)
    silence = np.zeros_like(wave)
    for reference, decoded, reason in (
        (silence, silence, "the reference is silent"),
        (wave, silence, "the decoded clip is silent"),
        (wave[:0], wave[:0], "shorter than"),
        (wave[: metric.sample_rate // 5], wave[: metric.sample_rate // 5], "shorter than"),
    ):
        with pytest.raises(UnscorableError, match=reason):
            score(metric, reference, decoded)
    noise = noisy(silence, 0.1)
    assert 1 <= score(metric, noise, noise[::-1]) <= 5
    assert 1 <= score(metric, wave, noise) <= 5
    least = wave[: int(metric.min_seconds * metric.sample_rate)]
    assert score(metric, least, least) == pytest.approx(metric.scales[0].best, abs=1e-3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cls", [VisqolSpeech, VisqolAudio])
def test_says_which_extra(cls, monkeypatch):
    monkeypatch.setitem(sys.modules, "visqol", None)
    with pytest.raises(MissingPartError, match=r"^metric visqol_\w+ needs visqol .*'mixcodec\[eval-visqol\]'$"):
        cls().check()
