import numpy as np
import pytest
from pesq import pesq
from pystoi import stoi

from mixcodec.audio import resample
from mixcodec.evaluate.metrics import METRICS, UnscorableError

RATE = 16000


def measured(kind, one, other):
    metric = METRICS.build(kind)
    rate = metric.sample_rate or RATE
    one, other = (resample(w, RATE, rate) for w in (one, other))
    return metric.measure(metric.prepare(one, rate), other, rate)[kind]


@pytest.fixture
def pair(speech, noise):
    return speech, (speech + noise[: len(speech)]).astype(np.float32)


def test_pesq_is_the_packages(pair):
    assert measured("pesq_wb", *pair) == pytest.approx(pesq(RATE, *pair, "wb"), abs=1e-6)
    assert measured("pesq_nb", *pair) == pytest.approx(pesq(8000, *(resample(w, RATE, 8000) for w in pair), "nb"), abs=1e-6)


def test_stoi_is_the_packages(pair):
    """The package resamples by its own filter, here soxr does: they agree to a few thousandths."""
    assert measured("stoi", *pair) == pytest.approx(stoi(*pair, RATE), abs=5e-3)
    assert measured("estoi", *pair) == pytest.approx(stoi(*pair, RATE, extended=True), abs=5e-3)


def test_published_limits_of_pesq(speech):
    """P.862.1 and P.862.2 map the highest raw score, 4.5, to 4.549 and 4.644."""
    assert METRICS.build("pesq_nb").scales[0].best == pytest.approx(4.549, abs=1e-3)
    assert METRICS.build("pesq_wb").scales[0].best == pytest.approx(4.644, abs=1e-3)
    assert measured("pesq_wb", speech, speech) == pytest.approx(4.644, abs=1e-3)


@pytest.mark.parametrize("kind", ["pesq_wb", "pesq_nb", "stoi", "estoi"])
def test_what_has_no_value_says_why(kind):
    with pytest.raises(UnscorableError, match=r"PESQ|silent|STFT frames"):
        measured(kind, np.zeros(RATE, np.float32), np.zeros(RATE, np.float32))
    short = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    with pytest.raises(UnscorableError):
        measured(kind, short, short)
