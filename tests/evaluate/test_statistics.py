import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from mixcodec.evaluate.statistics import bd_rate, mean_estimate, paired_difference


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2, 1, 40)
    ours = mean_estimate(list(values), resamples=20000)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=1).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert ours.n == 40
    # Both are Monte Carlo: their own spread at 20,000 resamples is about 1 % of the interval.
    assert ours.low == pytest.approx(theirs.low, abs=0.02 * (theirs.high - theirs.low))
    assert ours.high == pytest.approx(theirs.high, abs=0.02 * (theirs.high - theirs.low))


def test_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = sum((e := mean_estimate(list(rng.normal(5, 2, 50)), 500)).low <= 5 <= e.high for _ in range(300))
    assert 0.90 <= covered / 300 <= 0.98  # 95 % less a percentile bootstrap's known shortfall, +- 3 standard errors


def test_the_same_values_give_the_same_interval():
    assert mean_estimate([1.0, 2.0, 5.0]) == mean_estimate([1.0, 2.0, 5.0])


def test_one_value_and_none():
    assert mean_estimate([3.0]).low == mean_estimate([3.0]).high == 3
    none = mean_estimate([])
    assert none.n == 0
    assert math.isnan(none.mean)


def test_pairing_takes_out_what_is_hard_about_a_clip():
    hard = {f"c{i}": float(v) for i, v in enumerate(np.random.default_rng(2).normal(0, 10, 30))}
    better = {clip: value + 0.5 for clip, value in hard.items()}
    difference = paired_difference(better, hard)
    assert (difference.low, difference.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert paired_difference(better, {"c1": hard["c1"], "other": 1.0}).n == 1


def test_bd_rate_of_a_curve_that_needs_twice_the_bits():
    rates, scores = [1, 2, 4, 8], [1.0, 2.0, 2.7, 3.1]
    assert bd_rate(rates, scores, [2 * r for r in rates], scores) == pytest.approx(100)
    assert bd_rate([2 * r for r in rates], scores, rates, scores) == pytest.approx(-50)


def test_bd_rate_agrees_with_the_package_bjontegaard():
    bjontegaard = pytest.importorskip("bjontegaard")
    one = ([9.487, 4.486, 2.247, 1.19], [40.037, 38.615, 36.845, 34.851])
    other = ([9.787, 4.469, 2.451, 1.356], [40.121, 38.651, 36.970, 34.987])
    theirs = bjontegaard.bd_rate(*one, *other, method="pchip", require_matching_points=False)
    assert bd_rate(*one, *other) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(("rates", "scores"), [([1], [1.0]), ([1, 2], [2.0, 1.0]), ([1, 2], [5.0, 6.0]), ([1, 1], [1.0, 2.0])])
def test_curves_that_cannot_be_compared(rates, scores):
    assert math.isnan(bd_rate(rates, scores, [1, 2], [1.0, 2.0]))
