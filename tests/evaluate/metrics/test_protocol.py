"""What holds of every metric."""

import math
from contextlib import suppress

import numpy as np
import pytest

from mixcodec.audio import resample
from mixcodec.errors import UsageError
from mixcodec.evaluate.metrics import DEFAULT, JUDGES, METRICS, Scale, UnscorableError, chosen_metrics
from mixcodec.extras import MissingPartError

RATE = 16000
SLOW = {"words"}
"""These need a recogniser of 75 MB and take seconds a clip; their own file tests them."""
KINDS = [kind for kind in METRICS.kinds() if kind not in SLOW]


def prepared(kind):
    metric = METRICS.build(kind)
    try:
        metric.check()
    except MissingPartError as error:
        pytest.skip(str(error))
    return metric


def measured(metric, one, other):
    rate = metric.sample_rate or RATE
    one, other = (resample(w, RATE, rate) for w in (one, other))
    return metric.measure(metric.prepare(one, rate), other, rate)


@pytest.mark.parametrize("kind", METRICS.kinds())
def test_states_its_facts(kind):
    metric = METRICS.build(kind)
    assert metric.kind == kind
    assert metric.source
    assert metric.extra.startswith("eval")
    for scale in metric.scales:
        assert scale.low < scale.high
        assert scale.name.replace("_", "").isalnum()
        assert scale.name == scale.name.lower()
        assert scale.better(1.0, 0.0) is (scale.higher_is_better and scale.middle is None)
        assert scale.low <= scale.best <= scale.high


def test_no_loss_follows_a_judge_and_one_follows_every_default():
    followed = {kind: {scale.followed for scale in METRICS.build(kind).scales} for kind in METRICS.kinds()}
    assert all(followed[kind] == {False} for kind in JUDGES)
    assert all(followed[kind] == {True} for kind in (*DEFAULT, "words"))


@pytest.mark.parametrize(
    ("scale", "better", "worse", "best", "words"),
    [
        (Scale("a", "a", 0.0, 5.0, higher_is_better=True), 4.0, 3.0, 5.0, "higher"),
        (Scale("a", "a", 0.0, 5.0, higher_is_better=False), 3.0, 4.0, 0.0, "lower"),
        (Scale("a", "a", -9.0, 9.0, False, middle=0.0), -1.0, 2.0, 0.0, "nearer to 0"),
        (Scale("a", "a", -9.0, 9.0, True, middle=1.0), 2.0, -0.5, 1.0, "nearer to 1"),
    ],
)
def test_which_value_is_better(scale, better, worse, best, words):
    assert scale.better(better, worse)
    assert not scale.better(worse, better)
    assert not scale.better(better, better)
    assert scale.best == best
    assert not scale.better(better, best)
    assert scale.better_is == words


def test_scales_have_names_of_their_own():
    names = [scale.name for kind in METRICS.kinds() for scale in METRICS.build(kind).scales]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_best_and_noise_is_worse(kind, speech, noise):
    metric = prepared(kind)
    same = measured(metric, speech, speech.copy())
    worse = measured(metric, speech, speech + 2 * noise[: len(speech)])
    for scale in metric.scales:
        if scale.compares:
            assert math.isclose(same[scale.name], scale.best, rel_tol=1e-4, abs_tol=1e-4)
        assert scale.low <= worse[scale.name] <= scale.high
        assert scale.better(same[scale.name], worse[scale.name]) or (scale.coarse and same[scale.name] == worse[scale.name])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_twice(kind, speech, noise):
    metric = prepared(kind)
    other = (speech + noise[: len(speech)]).astype(np.float32)
    first = measured(metric, speech, other)
    assert measured(metric, speech, other) == pytest.approx(first, rel=1e-12), "threads may add up in another order"


@pytest.mark.parametrize("kind", KINDS)
def test_strange_clips_give_a_number_or_a_reason(kind, speech, recwarn):
    metric = prepared(kind)
    silence, click = np.zeros(RATE, np.float32), np.zeros(3200, np.float32)
    click[100] = 1
    for one, other in ((silence, silence), (speech[:RATE], silence), (silence, speech[:RATE]), (click, click)):
        with suppress(UnscorableError):
            values = measured(metric, one, other)
            assert all(math.isfinite(values[scale.name]) for scale in metric.scales)
    assert not recwarn.list


def test_choosing():
    assert chosen_metrics(["default"]) == DEFAULT
    assert set(chosen_metrics(["all"])) == set(METRICS.kinds())
    assert chosen_metrics(["default", "judges", "pitch"]) == (*DEFAULT, *JUDGES)
    assert chosen_metrics(["stoi", "mel", "stoi"]) == ("stoi", "mel")
    assert "pesq_wb" not in chosen_metrics(["default"], speech=False)
    assert "pesq_wb" in chosen_metrics(["pesq_wb"], speech=False)
    with pytest.raises(UsageError, match="no metric"):
        chosen_metrics([])
    with pytest.raises(Exception, match="did you mean 'pesq_wb'"):
        chosen_metrics(["pesk_wb"])
