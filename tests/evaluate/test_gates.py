"""The gates pass on what is sound, and each one fails on a harness that is broken in its way."""

import numpy as np
import pytest

from mixcodec import write_audio
from mixcodec.evaluate import gates
from mixcodec.evaluate.clips import find_clips
from mixcodec.evaluate.gates import GateError, gate_clips, prove
from mixcodec.evaluate.measure import Conditions
from mixcodec.evaluate.metrics import METRICS, Metric, Scale

pytestmark = pytest.mark.needs("opusenc", "opusdec")


class Broken(Metric):
    """A distance that is broken in the way that a test chooses."""

    kind = "broken"
    scales = (Scale("broken", "broken", 0.0, np.inf, higher_is_better=False),)
    source = "test"
    sample_rate = None
    fault = ""

    def measure(self, prepared, wave, sample_rate):
        distance = float(np.abs(prepared - wave).mean())
        if self.fault == "blind":
            distance = 0.0
        if self.fault == "offset":
            distance += 0.01
        if self.fault == "upside down" and distance:
            distance = 1 / distance
        if self.fault == "likes noise":
            distance = max(0.0, 0.02 - distance) if distance > 0.005 else distance
        return {"broken": distance}


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setitem(METRICS._classes, "broken", Broken)
    return lambda fault: monkeypatch.setattr(Broken, "fault", fault)


def proved(data, *metrics):
    return prove(gate_clips(find_clips(data)), Conditions(data, metrics, 16000, True))


def test_sound_metrics_pass(data):
    assert len(proved(data, "pesq_wb", "stoi", "mel", "stft", "si_sdr", "lsd", "pesq_nb", "estoi")) == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("offset", "gate identity: broken of a copy"),
        ("blind", "gate noise"),
        ("likes noise", "gate noise"),
        ("upside down", "gate"),
    ],
)
def test_a_broken_metric_is_caught(data, broken, fault, message):
    broken(fault)
    with pytest.raises(GateError, match=message):
        proved(data, "mel", "broken")


@pytest.mark.parametrize(("fault", "message"), [("likes noise", ""), ("offset", "gate identity"), ("blind", "gate noise")])
def test_more_bits_need_not_bring_nearer_to_a_middle(data, broken, monkeypatch, fault, message):
    """A change that is best at 0: a copy has none, noise brings one, and of 24 kbps it may be greater than of 6."""
    monkeypatch.setattr(Broken, "scales", (Scale("broken", "broken", -np.inf, np.inf, False, middle=0.0),))
    broken(fault)
    if not message:
        monkeypatch.setattr(Broken, "measure", lambda self, one, other, rate: {"broken": -_larger_for_less(one, other)})
        assert len(proved(data, "mel", "broken")) == 3
        return
    with pytest.raises(GateError, match=message):
        proved(data, "mel", "broken")


def _larger_for_less(one, other):
    """0 for equal waves, above that the larger the less they differ."""
    distance = float(np.abs(one - other).mean())
    return 1 / distance if distance else 0.0


def test_a_broken_baseline_is_caught(data, monkeypatch):
    """Opus whose rates are mixed up."""
    monkeypatch.setattr(gates, "WORSE", "opus@24")
    monkeypatch.setattr(gates, "BETTER", "opus@6")
    with pytest.raises(GateError, match=r"gate rate: .* is not worse than"):
        proved(data, "mel")


def test_clips_that_cannot_serve_are_passed_over(tmp_path, data):
    for path in data.glob("*.wav"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_audio(tmp_path / "silence.wav", np.zeros(5 * 16000, np.float32), 16000)
    whole = (tmp_path / "clip0.wav").read_bytes()
    (tmp_path / "short.wav").write_bytes(whole[:100])
    assert "silence" not in proved(tmp_path, "stoi", "mel")[0]


def test_a_metric_without_a_value_stops_the_run(tmp_path, data):
    write_audio(tmp_path / "short.wav", np.ones(400, np.float32) / 10, 16000)
    with pytest.raises(
        GateError, match=r"no clip on which all metrics have a value .short.wav: no stoi .*choose other --metrics"
    ):
        proved(tmp_path, "stoi")
