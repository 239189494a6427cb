"""DistillMOS: the package's own call is the oracle."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio
from mixcodec.evaluate.metrics import METRICS
from mixcodec.extras import MissingPartError
from mixcodec.judges import distillmos as judges
from mixcodec.judges.base import UnscorableError
from mixcodec.judges.distillmos import INSTALL, check, distillmos

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16000


@pytest.fixture(scope="module")
def speech():
    try:
        check("this test")
    except MissingPartError as error:
        pytest.skip(str(error))
    return read_audio(EXAMPLES / "queue.flac")[0]


@pytest.mark.parametrize("seconds", [2.0, 9.5])
def test_is_the_packages_own(speech, seconds):
    torch = pytest.importorskip("torch")
    with judges._stand_in("torchaudio"):
        from distillmos import ConvTransformerSQAModel
    wave = np.tile(speech, 3)[: round(seconds * RATE)]
    with torch.no_grad():
        theirs = ConvTransformerSQAModel().eval()(torch.from_numpy(wave)[None]).item()
    assert distillmos(wave) == pytest.approx(theirs, abs=1e-5)  # another number of threads


def test_noise_lowers_it(speech):
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    clean = distillmos(speech)
    assert clean > distillmos(speech + 0.003 * noise) + 0.2
    assert 1 <= distillmos(speech + 0.03 * noise) < clean - 0.5


def test_through_the_metric_and_twice_the_same(speech):
    metric = METRICS.build("distillmos")
    values = metric.measure(metric.prepare(speech, RATE), speech[: 3 * RATE], RATE)
    assert values == {"distillmos": distillmos(speech[: 3 * RATE])}
    assert metric.scales[0].low <= values["distillmos"] <= metric.scales[0].high


def test_silence_has_no_value(speech):
    for wave in (np.zeros(RATE, np.float32), np.zeros(0, np.float32)):
        with pytest.raises(UnscorableError, match="silent"):
            distillmos(wave)


def test_leaves_no_stand_in_behind_and_prints_nothing(speech):
    """In a process of its own: whoever asks for torchaudio afterwards finds it, or finds that there is none."""
    code = (
        "import importlib.util, sys, numpy; from mixcodec.judges.distillmos import distillmos; there = lambda: "
        "importlib.util.find_spec('torchaudio') is not None; before = there(); "
        "distillmos(numpy.ones(8000, 'float32')); assert there() == before; "
        "assert before or 'torchaudio' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_stand_in_goes_whatever_happens(monkeypatch):
    name = "torchaudio_that_nobody_has"
    with pytest.raises(ZeroDivisionError), judges._stand_in(name):
        assert 1 / (name not in sys.modules)
    assert name not in sys.modules
    marker = object()
    monkeypatch.setitem(sys.modules, name, marker)
    with judges._stand_in(name):
        assert sys.modules[name] is marker
    assert sys.modules[name] is marker


@pytest.mark.parametrize("missing", ["distillmos", "xls_r_sqa.config"])
def test_says_how_to_install_it(monkeypatch, missing):
    pytest.importorskip("torch")
    for name in [name for name in sys.modules if name.startswith(("distillmos", "xls_r_sqa"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingPartError, match=r"^metric distillmos needs distillmos \(.*\); " + INSTALL + "$") as caught:
        METRICS.build("distillmos").check()
    assert "\n" not in str(caught.value)


def test_says_which_extra_brings_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPartError, match=r"^metric distillmos needs torch .*'mixcodec\[eval-mos\]'$"):
        METRICS.build("distillmos").check()
