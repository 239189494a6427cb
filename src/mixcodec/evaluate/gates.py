"""Sanity gates: before a run the harness proves itself, or stops and says why it is not to be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mixcodec.audio import Wave
from mixcodec.errors import MixcodecError
from mixcodec.evaluate.align import aligned, find_delay
from mixcodec.evaluate.baselines import Coder, parse_points
from mixcodec.evaluate.clips import Clip, read_clip
from mixcodec.evaluate.measure import Conditions, Judge, through
from mixcodec.evaluate.metrics import METRICS, Metric, Scale
from mixcodec.temporary import temporary_folder

GATE_CLIPS = 2
CANDIDATES = 10
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
    """The clips on which gates and delays may be tried, the likeliest to serve first."""
    readable = [clip for clip in clips if clip.seconds > 0]
    return sorted(readable, key=lambda clip: abs(math.log(clip.seconds / GATE_SECONDS)))[:CANDIDATES]


def prove(clips: Sequence[Clip], conditions: Conditions) -> list[str]:
    """Run the gates on `clips`; say what each found.

    identity: a copy gets the best value of every metric that compares, and a metric that judges alone says the same twice;
    noise: added noise makes every value worse; rate: Opus at 24 kbps beats Opus at 6 by every metric that compares, but for
    those whose best lies in the middle: a fault that they look for need not be one of Opus.

    Raises:
        GateError: a gate failed. MissingPartError: there is no Opus.
    """
    metrics = [METRICS.build(kind) for kind in conditions.metrics]
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in ("copy", "noise", WORSE, BETTER)}
    coders = parse_points([WORSE, BETTER])
    for coder in coders:
        coder.check()
    used: list[str] = []
    reasons: list[str] = []
    for clip in clips:
        with temporary_folder() as folder:
            try:
                found = _try(clip, conditions, coders, folder)
            except UnusableError as error:
                reasons.append(f"{clip.name}: {error}")
                continue
        _check_identity(metrics, found["copy"], found["again"], clip)
        for name, each in scores.items():
            each.append(found[name])
        used.append(clip.name)
        if len(used) == GATE_CLIPS:
            break
    if not used:
        raise GateError(f"the gates find no clip on which all metrics have a value ({reasons[0]}); choose other --metrics")
    _check_order("noise", metrics, scores, "noise", "copy", lambda scale: True)
    _check_order("rate", metrics, scores, WORSE, BETTER, _grows_with_rate)
    return [
        f"identity: a copy has the best value of every metric that compares ({', '.join(used)})",
        f"noise: noise {NOISE_DB:g} dB below the signal makes every metric worse",
        "rate: Opus at 24 kbps is better than Opus at 6 by every metric that compares and can only grow better with the rate",
    ]


def _grows_with_rate(scale: Scale) -> bool:
    return scale.compares and scale.middle is None


class UnusableError(Exception):
    """A clip that cannot be read, or on which a metric has no value: no fault of the harness."""


def _try(clip: Clip, conditions: Conditions, coders: Sequence[Coder], folder: Path) -> dict[str, dict[str, float]]:
    """The scores of a copy (twice), of the clip in noise, and of the coders."""
    source = folder / "source.wav"
    try:
        reference = read_clip(conditions.root / clip.name, source, conditions.sample_rate, conditions.mono)
    except MixcodecError as error:
        raise UnusableError(str(error)) from None
    judge = Judge(reference, conditions)
    found = {name: _scored(judge, wave) for name, wave in (("copy", reference), ("again", reference.copy()))}
    found["noise"] = _scored(judge, _noisy(reference))
    for coder in coders:
        wave = through(coder, source, folder, conditions.sample_rate)[1]
        delay = find_delay([np.atleast_2d(reference)[0]], [np.atleast_2d(wave)[0]], conditions.sample_rate)
        found[coder.point] = _scored(judge, aligned(wave, delay, reference.shape[-1]))
    return found


def _scored(judge: Judge, wave: Wave) -> dict[str, float]:
    scores, problems = judge.score(wave)
    if problems:
        raise UnusableError("; ".join(f"no {name} ({reason})" for name, reason in problems.items()))
    return scores


def _check_identity(metrics: Sequence[Metric], first: dict[str, float], again: dict[str, float], clip: Clip) -> None:
    for metric in metrics:
        for scale in metric.scales:
            value, wanted = first[scale.name], scale.best if scale.compares else again[scale.name]
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
    wanted: Callable[[Scale], bool],
) -> None:
    """Raise GateError where a scale that is `wanted` finds `worse`, over the clips, as good as `better`."""
    for metric in metrics:
        for scale in filter(wanted, metric.scales):
            values = {name: [clip[scale.name] for clip in scores[name]] for name in (worse, better)}
            low, high = (float(np.mean([scale.goodness(value) for value in values[name]])) for name in (worse, better))
            if not (high > low or (scale.coarse and high == low)):
                said = [_said(scale, name, float(np.mean(values[name]))) for name in (worse, better)]
                raise GateError(f"gate {gate}: {said[0]} is not worse than {said[1]}")


def _said(scale: Scale, name: str, value: float) -> str:
    return f"{scale.title} of {name} ({value:.6g})"


def _noisy(reference: Wave) -> Wave:
    """The clip with white noise NOISE_DB below it, of a fixed seed."""
    noise = np.random.default_rng(0).standard_normal(reference.shape).astype(np.float32)
    level = float(np.sqrt(np.square(reference, dtype=np.float64).mean()))
    return np.asarray(reference + noise * np.float32(level * 10 ** (-NOISE_DB / 20)), np.float32)
