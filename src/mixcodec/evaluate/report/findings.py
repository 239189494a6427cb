"""What the rows of a run say, sorted once: values, rates and estimates for every operating point."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from mixcodec.evaluate.metrics.base import Scale
from mixcodec.evaluate.results import Results, Row
from mixcodec.evaluate.statistics import RESAMPLES, Estimate, mean_estimate, paired_difference

RANKING = ("pesq_wb", "stoi", "mel_distance")
"""Scales by which the worst clips are found, the preferred one first."""
OWN = "mixcodec"
MOST_DRAWS = 4_000_000
LEAST_RESAMPLES = 400
OFF_AXIS = 3.0
"""A codec without a curve whose rate is this many times that of every curve is drawn as a line beside the axis."""
SAME_RATE = 1.05


@dataclasses.dataclass(frozen=True)
class Failure:
    """A value that is not there, and why."""

    point: str
    clip: str
    what: str
    """The scale's title, or "codec" where the clip was not coded at all."""
    reason: str


class Findings:
    """An index of `results` by point and scale, with estimates that are worked out once and kept."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.points = list(dict.fromkeys([*results.points, *(row.point for row in results.rows)]))
        self.scales = results.scales
        self.clips = results.clips
        self.rows: dict[str, dict[str, Row]] = {point: {} for point in self.points}
        for row in results.rows:
            self.rows[row.point][row.clip] = row
        self.codec_of = {point: next((row.codec for row in self.rows[point].values()), point) for point in self.points}
        self.codecs = list(dict.fromkeys(self.codec_of.values()))
        self._estimates: dict[tuple[str, str], Estimate] = {}

    @property
    def seconds(self) -> float:
        """Of all clips, each counted once."""
        return sum({row.clip: row.seconds for row in self.results.rows}.values())

    def of_codec(self, codec: str) -> list[str]:
        """The points of one codec, in order."""
        return [point for point in self.points if self.codec_of[point] == codec]

    def is_own(self, codec: str) -> bool:
        """Whether a codec is mixcodec itself, with whatever model."""
        return codec.split(":")[0] == OWN

    def values(self, point: str, scale: Scale) -> dict[str, float]:
        """Clip -> value, of the clips that have one."""
        found = ((clip, row.scores.get(scale.name)) for clip, row in self.rows[point].items())
        return {clip: value for clip, value in found if value is not None and math.isfinite(value)}

    def coded(self, point: str) -> int:
        """How many clips the codec did not fail on."""
        return sum(row.file_bytes is not None for row in self.rows[point].values())

    def kbps(self, point: str) -> float:
        """Of whole files; NaN where everything failed."""
        return self.results.total_kbps(point)

    def payload_kbps(self, point: str) -> float:
        """Without a container that is not the codec's own; NaN where it is not known."""
        return self.results.total_kbps(point, lambda row: row.payload_bytes)

    def estimate(self, point: str, scale: Scale) -> Estimate:
        """The mean over all clips that have a value."""
        key = (point, scale.name)
        if key not in self._estimates:
            self._estimates[key] = estimate(self.values(point, scale).values())
        return self._estimates[key]

    def difference(self, one: str, other: str, scale: Scale) -> Estimate:
        """The paired mean of `one` minus `other` over the clips that both have."""
        first, second = self.values(one, scale), self.values(other, scale)
        return paired_difference(first, second, resamples(min(len(first), len(second))))

    def off_axis(self) -> list[str]:
        """Points far above the rate of every curve: uncoded sound, a low-pass anchor.

        On the axis of rates they would squash the curves, and nobody weighs them against a codec bit for bit.
        """
        rates = {codec: [r for p in self.of_codec(codec) if math.isfinite(r := self.kbps(p))] for codec in self.codecs}
        curves = {codec for codec, known in rates.items() if known and max(known) > SAME_RATE * min(known)}
        if not curves:
            return []
        top = max(max(rates[codec]) for codec in curves)
        far = [codec for codec, known in rates.items() if codec not in curves and known and min(known) > OFF_AXIS * top]
        return [point for codec in far for point in self.of_codec(codec)]

    def failures(self) -> list[Failure]:
        """Every clip and every score that is missing, whether or not the run gave a reason."""
        return [found for point in self.points for clip in self.clips for found in self.failures_of(point, clip)]

    def failures_of(self, point: str, clip: str) -> list[Failure]:
        """What is missing of one clip at one point."""
        row = self.rows[point].get(clip)
        if row is None:
            return [Failure(point, clip, "codec", "not in the results")]
        if row.file_bytes is None or ("codec" in row.problems and not row.scores):
            return [Failure(point, clip, "codec", row.problems.get("codec", "no file, and no reason given"))]
        reasons = dict(row.problems)
        found = []
        for scale in self.scales:
            value = row.scores.get(scale.name)
            reason = reasons.pop(scale.name, "")
            if value is None or not math.isfinite(value):
                given = "no value, and no reason given" if value is None else f"gave {value}"
                found.append(Failure(point, clip, scale.title, reason or given))
            elif reason:
                found.append(Failure(point, clip, scale.title, f"has a value, but: {reason}"))
        return found + [Failure(point, clip, what, reason) for what, reason in reasons.items()]


def resamples(n: int) -> int:
    """How many bootstrap resamples to draw of `n` clips: fewer where n is in the thousands, to bound the time."""
    return min(RESAMPLES, max(LEAST_RESAMPLES, MOST_DRAWS // max(n, 1)))


def estimate(values: Iterable[float]) -> Estimate:
    """The mean of `values` with its interval."""
    sample = list(values)
    return mean_estimate(sample, resamples(len(sample)))


def ranking_scale(results: Results) -> Scale | None:
    """The scale that says which clips are worst: the first of RANKING that was measured, else the first there is."""
    named = {scale.name: scale for scale in results.scales}
    return next((named[name] for name in RANKING if name in named), results.scales[0] if results.scales else None)
