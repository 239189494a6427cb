"""Sanity gates: before a run the harness proves itself, or stops and says why it is not to be trusted."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mixcodec.audio import Wave
from mixcodec.errors import MixcodecError
from mixcodec.evaluate.align import aligned, find_delay
from mixcodec.evaluate.baselines import parse_points
from mixcodec.evaluate.clips import Clip, read_clip
from mixcodec.evaluate.measure import Conditions, Judge, through
from mixcodec.evaluate.metrics import METRICS, Metric, Scale

GATE_CLIPS = 2
GATE_SECONDS = 5.0
"""Clips nearest to this length are taken: long enough for every metric."""
NOISE_DB = 5.0
"""Signal-to-noise ratio of the added noise."""
CLOSE = 1e-4
"""Relative difference under which an identical copy has the best value."""
WORSE, BETTER = "opus@6", "opus@24"


class GateError(MixcodecError):
    """The harness failed a test of itself."""


def gate_clips(clips: Sequence[Clip]) -> list[Clip]:
    """The clips that the gates and the search for delays are run on."""
    readable = [clip for clip in clips if clip.seconds > 0]
    return sorted(readable, key=lambda clip: abs(math.log(clip.seconds / GATE_SECONDS)))[:GATE_CLIPS]


def prove(clips: Sequence[Clip], conditions: Conditions) -> list[str]:
    """Run the gates on `clips`; say what each found.

    identity: a copy gets the best value of every metric that compares, and a metric that judges alone says the same twice;
    noise: added noise makes every value worse; rate: Opus at 24 kbps beats Opus at 6 by every metric that compares.

    Raises:
        GateError: a gate failed. MissingPartError: there is no Opus.
    """
    metrics = [METRICS.build(kind) for kind in conditions.metrics]
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in ("copy", "noise", WORSE, BETTER)}
    coders = parse_points([WORSE, BETTER])
    for coder in coders:
        coder.check()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.wav"
        for clip in clips:
            reference = read_clip(conditions.root / clip.name, source, conditions.sample_rate, conditions.mono)
            judge = Judge(reference, conditions)
            first, again = _scored(judge, reference, clip), _scored(judge, reference.copy(), clip)
            _check_identity(metrics, first, again, clip)
            scores["copy"].append(first)
            scores["noise"].append(_scored(judge, _noisy(reference), clip))
            for coder in coders:
                wave = through(coder, source, Path(folder), conditions.sample_rate, conditions.mono)[1]
                rows = [np.atleast_2d(w)[0] for w in (reference, wave)]
                delay = find_delay([rows[0]], [rows[1]], conditions.sample_rate)
                scores[coder.point].append(_scored(judge, aligned(wave, delay, reference.shape[-1]), clip))
    _check_order("noise", metrics, scores, "noise", "copy", lambda metric: True)
    _check_order("rate", metrics, scores, WORSE, BETTER, lambda metric: metric.compares)
    names = ", ".join(clip.name for clip in clips)
    return [
        f"identity: a copy has the best value of every metric that compares ({names})",
        f"noise: noise {NOISE_DB:g} dB below the signal makes every metric worse",
        "rate: Opus at 24 kbps is better than Opus at 6 by every metric that compares",
    ]


def _scored(judge: Judge, wave: Wave, clip: Clip) -> dict[str, float]:
    scores, problems = judge.score(wave)
    if problems:
        name, reason = next(iter(problems.items()))
        raise GateError(
            f"gate identity: {name} cannot be computed on {clip.name} ({reason}); leave it out of --metrics if these clips have "
            "no value for it"
        )
    return scores


def _check_identity(metrics: Sequence[Metric], first: dict[str, float], again: dict[str, float], clip: Clip) -> None:
    for metric in metrics:
        for scale in metric.scales:
            value, wanted = first[scale.name], scale.best if metric.compares else again[scale.name]
            if again[scale.name] != value:
                raise GateError(f"gate identity: {scale.title} of {clip.name} is {value} and then {again[scale.name]}")
            if not math.isclose(value, wanted, rel_tol=CLOSE, abs_tol=CLOSE):
                raise GateError(f"gate identity: {scale.title} of a copy of {clip.name} is {value:.6g}, not {wanted:.6g}")


def _check_order(
    gate: str,
    metrics: Sequence[Metric],
    scores: dict[str, list[dict[str, float]]],
    worse: str,
    better: str,
    wanted: Callable[[Metric], bool],
) -> None:
    for metric in filter(wanted, metrics):
        for scale in metric.scales:
            low, high = (float(np.mean([clip[scale.name] for clip in scores[name]])) for name in (worse, better))
            if not (scale.better(high, low) or (metric.coarse and high == low)):
                raise GateError(f"gate {gate}: {_said(scale, worse, low)} is not worse than {_said(scale, better, high)}")


def _said(scale: Scale, name: str, value: float) -> str:
    return f"{scale.title} of {name} ({value:.6g})"


def _noisy(reference: Wave) -> Wave:
    """The clip with white noise NOISE_DB below it, of a fixed seed."""
    noise = np.random.default_rng(0).standard_normal(reference.shape).astype(np.float32)
    level = float(np.sqrt(np.square(reference, dtype=np.float64).mean()))
    return np.asarray(reference + noise * np.float32(level * 10 ** (-NOISE_DB / 20)), np.float32)
