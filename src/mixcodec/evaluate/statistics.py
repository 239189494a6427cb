"""What a mean over clips is worth: bootstrap intervals, paired differences, and the distance between two curves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over clips with its confidence interval."""

    mean: float
    low: float
    high: float
    n: int


def mean_estimate(values: Sequence[float], resamples: int = RESAMPLES) -> Estimate:
    """The mean of `values` with the percentile bootstrap interval (Efron, 1979) at 95 %.

    The seed is fixed, so that equal values give equal intervals. No values give NaN and n = 0.
    """
    sample = np.asarray(values, np.float64)
    n = len(sample)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    low, high = _interval(_bootstrap_means(sample, resamples))
    return Estimate(float(sample.mean()), low, high, n)


def paired_difference(one: Mapping[str, float], other: Mapping[str, float], resamples: int = RESAMPLES) -> Estimate:
    """The mean of one minus other over the clips that both have, with its bootstrap interval over those clips.

    Pairing takes out what is hard or easy about a clip itself, so it tells codecs apart that unpaired intervals do not.
    """
    shared = [clip for clip in one if clip in other]
    return mean_estimate([one[clip] - other[clip] for clip in shared], resamples)


def bd_rate(
    rates: Sequence[float], scores: Sequence[float], other_rates: Sequence[float], other_scores: Sequence[float]
) -> float:
    """Bjontegaard delta rate: by how many percent the second curve needs more (+) or fewer (-) bits at equal score.

    The mean over the shared range of scores of the difference of ln rate, each curve interpolated by a monotone piecewise
    cubic (PCHIP) through its points (Bjontegaard, 2001, Calculation of average PSNR differences between RD-curves;
    with PCHIP as in the JCT-VC common test conditions). A higher score must mean better on both; negate where it does not.

    Returns:
        Percent; NaN where a curve has fewer than two points, does not rise with its rate, or the scores do not overlap.
    """
    from scipy.interpolate import PchipInterpolator

    curves = []
    for rate, score in ((rates, scores), (other_rates, other_scores)):
        order = np.argsort(score)
        x, y = np.asarray(score, np.float64)[order], np.log(np.asarray(rate, np.float64)[order])
        if len(x) < 2 or not (np.diff(x) > 0).all() or not (np.diff(y) > 0).all():
            return math.nan
        curves.append((x, PchipInterpolator(x, y)))
    low = max(x[0] for x, _ in curves)
    high = min(x[-1] for x, _ in curves)
    if not low < high:
        return math.nan
    first, second = (curve.integrate(low, high) for _, curve in curves)
    return float(100 * math.expm1((second - first) / (high - low)))


def _bootstrap_means(sample: NDArray[np.float64], resamples: int) -> NDArray[np.float64]:
    picks = np.random.default_rng(SEED).integers(0, len(sample), (resamples, len(sample)))
    return np.asarray(sample[picks].mean(axis=1))


def _interval(means: NDArray[np.float64]) -> tuple[float, float]:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
