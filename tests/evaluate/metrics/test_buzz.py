"""Harmonicity and modulation as metrics: what they report of what the judges say, whose truth tests/judges checks."""

import sys

import numpy as np
import pytest

from mixcodec.errors import ConfigError
from mixcodec.evaluate.metrics import METRICS, UnscorableError
from mixcodec.extras import MissingPartError
from mixcodec.judges.modulation import modulation

RATE = 16000


def measured(metric, one, other):
    return metric.measure(metric.prepare(one, RATE), other, RATE)


def test_hoarseness_is_a_negative_change(speech, noise):
    pytest.importorskip("parselmouth", reason="the estimator is in mixcodec[eval-pitch]")
    metric = METRICS.build("harmonicity")
    same, hoarse = (measured(metric, speech, wave) for wave in (speech, speech + 0.3 * noise[: len(speech)]))
    assert same["harmonicity_change"] == pytest.approx(0, abs=1e-6)
    assert hoarse["harmonicity_change"] < -2
    assert hoarse["harmonicity"] - hoarse["harmonicity_change"] == pytest.approx(same["harmonicity"])
    assert measured(metric, speech + 0.3 * noise[: len(speech)], speech)["harmonicity_change"] > 2


@pytest.mark.parametrize("frame_rate", [50.0, 75.0])
def test_a_buzz_at_the_frame_rate_is_a_positive_change(speech, frame_rate):
    metric = METRICS.build({"kind": "modulation", "frame_rate": frame_rate})
    times = np.arange(len(speech)) / RATE
    buzzing = speech * (1 + 0.8 * np.cos(2 * np.pi * frame_rate * times)).astype(np.float32)
    found = measured(metric, speech, buzzing)
    assert found["modulation_1"] > 5
    assert found["modulation_1"] > found["modulation_3"] + 3
    wanted = modulation(buzzing, RATE, frame_rate) - modulation(speech, RATE, frame_rate)
    assert list(found.values()) == pytest.approx(list(wanted))


def test_the_usual_frame_rate_is_50_hz_and_one_that_is_none_is_an_error():
    assert METRICS.options("modulation") == ["frame_rate"]
    assert METRICS.build("modulation")._frame_rate == 50
    for wrong in (0, -50, 1e6, float("nan")):
        with pytest.raises(ConfigError, match=r"frame_rate is .* must be a number of Hz from 5 to 500"):
            METRICS.build({"kind": "modulation", "frame_rate": wrong})


def test_a_short_clip_has_no_modulation(speech):
    with pytest.raises(UnscorableError, match="shorter than 1 s"):
        measured(METRICS.build("modulation"), speech[:15000], speech[:15000])


def test_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    with pytest.raises(MissingPartError, match=r"^metric harmonicity needs parselmouth .*'mixcodec\[eval-pitch\]'$"):
        METRICS.build("harmonicity").check()
