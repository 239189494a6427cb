"""The interactive plots as plain data, which page.js gives its colours and hands to Plotly.

Text in Plotly may hold markup, so every name that comes from outside is escaped here.
"""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np

from mixcodec.evaluate.metrics.base import Scale
from mixcodec.evaluate.report.findings import Findings
from mixcodec.evaluate.statistics import Estimate

MOST_DOTS = 500
"""Clips of one point in a violin."""
LEAST_VIOLIN = 4
SEED = 0
LINE_STEPS = 24
PADDING = 0.06
SQUASHES = 1.2
"""An anchor further than this many times the spread of the curves is left off a plot, and named below it."""

Figure = dict[str, Any]


def rate_figures(findings: Findings) -> list[Figure]:
    """For each scale: mean and interval over the real rate, the points of a codec joined; anchors as level lines."""
    off_axis = set(findings.off_axis())
    return [_rate_figure(findings, scale, off_axis) for scale in findings.scales]


def _rate_figure(findings: Findings, scale: Scale, off_axis: set[str]) -> Figure:
    known = {point: found for point in findings.points if (found := findings.estimate(point, scale)).n}
    placed = {point: kbps for point in known if point not in off_axis and math.isfinite(kbps := findings.kbps(point))}
    anchors = [point for point in known if point in off_axis]
    ends = [end for point in placed for end in (known[point].low, known[point].high)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    drawn = [p for p in anchors if not ends or _distance(known[p].mean, low, high) <= SQUASHES * max(high - low, 1e-9)]
    for point in drawn:
        low, high = min(low, known[point].low), max(high, known[point].high)
    margin = PADDING * (high - low) or 0.5
    rates = [math.log10(kbps) for kbps in placed.values()] or [0.0]
    span = [min(rates) - 0.08, max(rates) + 0.08]
    traces = [_curve(findings, scale, codec, known, placed) for codec in findings.codecs]
    traces += [_level(findings, scale, point, known[point], span) for point in drawn]
    return {
        "kind": "rate",
        "title": scale.marked,
        "unit": scale.unit,
        "better": scale.better_is,
        "traces": [trace for trace in traces if trace["x"]],
        "x_range": span,
        "y_range": [low - margin, high + margin],
        "left_off": [f"{point} at {_told(known[point], scale)}" for point in anchors if point not in drawn],
    }


def _curve(findings: Findings, scale: Scale, codec: str, known: dict[str, Estimate], placed: dict[str, float]) -> dict[str, Any]:
    points = sorted((p for p in placed if findings.codec_of[p] == codec), key=placed.__getitem__)
    return {
        "codec": findings.codecs.index(codec),
        "name": plain(codec),
        "x": [_short(placed[p]) for p in points],
        "y": [_short(known[p].mean) for p in points],
        "plus": [_short(known[p].high - known[p].mean) for p in points],
        "minus": [_short(known[p].mean - known[p].low) for p in points],
        "text": [f"<b>{plain(p)}</b><br>{placed[p]:.2f} kbps<br>{_told(known[p], scale)}" for p in points],
    }


def _level(findings: Findings, scale: Scale, point: str, found: Estimate, span: list[float]) -> dict[str, Any]:
    told = f"<b>{plain(point)}</b><br>{findings.kbps(point):.4g} kbps, off this axis<br>{_told(found, scale)}"
    return {
        "codec": findings.codecs.index(findings.codec_of[point]),
        "name": plain(point),
        "level": True,
        "x": [_short(10**x) for x in np.linspace(span[0], span[1], LINE_STEPS)],
        "y": [_short(found.mean)] * LINE_STEPS,
        "low": _short(found.low),
        "high": _short(found.high),
        "text": [told] * LINE_STEPS,
    }


def spread_figures(findings: Findings) -> list[Figure]:
    """For each scale: the values of all clips, a violin for every operating point; dots where they are few."""
    return [_spread_figure(findings, scale) for scale in findings.scales]


def _spread_figure(findings: Findings, scale: Scale) -> Figure:
    traces = []
    sampled = False
    for point in findings.points:
        held = findings.values(point, scale)
        clips = list(held)
        if len(clips) > MOST_DOTS:
            picks = np.random.default_rng(SEED).choice(len(clips), MOST_DOTS, replace=False)
            clips, sampled = [clips[i] for i in np.sort(picks)], True
        found = findings.estimate(point, scale)
        traces.append(
            {
                "codec": findings.codecs.index(findings.codec_of[point]),
                "name": plain(point),
                "violin": len(clips) >= LEAST_VIOLIN,
                "x": [_short(held[clip]) for clip in clips],
                "text": [f"{plain(clip)}<br>{held[clip]:.{scale.digits}f}" for clip in clips] if len(clips) <= 100 else [],
                "mean": _short(found.mean) if found.n else None,
                "told": f"<b>{plain(point)}</b><br>mean {_told(found, scale)}" if found.n else "",
            }
        )
    return {
        "kind": "spread",
        "title": scale.marked,
        "unit": scale.unit,
        "better": scale.better_is,
        "traces": traces,
        "sampled": sampled,
    }


def plain(text: str) -> str:
    """A name from outside as text that Plotly shows as it is."""
    return html.escape(text)


def _told(found: Estimate, scale: Scale) -> str:
    unit = f" {scale.unit}" if scale.unit else ""
    interval = f"[{found.low:.{scale.digits}f}, {found.high:.{scale.digits}f}]" if found.n > 1 else "no interval"
    return f"{found.mean:.{scale.digits}f}{unit} {interval}, n {found.n}"


def _distance(value: float, low: float, high: float) -> float:
    return max(low - value, value - high, 0.0)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
