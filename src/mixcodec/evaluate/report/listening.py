"""What the report lets one hear: which clips, and the sound of each at every operating point."""

from __future__ import annotations

import dataclasses

from mixcodec.audio import Wave
from mixcodec.evaluate.report.findings import Findings, ranking_scale
from mixcodec.evaluate.results import Results


@dataclasses.dataclass
class Take:
    """One clip as one operating point gave it back. Its rate and its scores stand in the results."""

    wave: Wave
    """(N,) or (C, N), full scale [-1, 1], aligned with the reference."""
    sample_rate: int


@dataclasses.dataclass
class Excerpt:
    """One clip, as it was and as every operating point gave it back."""

    clip: str
    """As in `Row.clip`."""
    reference: Wave
    sample_rate: int
    takes: dict[str, Take] = dataclasses.field(default_factory=dict)
    """Operating point -> take; without those that failed."""


@dataclasses.dataclass
class Listening:
    """The excerpts, and whose worst they are."""

    excerpts: list[Excerpt] = dataclasses.field(default_factory=list)
    worst: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """Operating point -> its worst clips, the worst first: what `choose_clips` gave."""


def choose_clips(results: Results, worst: int = 5) -> dict[str, list[str]]:
    """The `worst` clips of every operating point, the worst first, by `ranking_scale`.

    A clip without a value on that scale is not ranked (it is among the failures); of equal ones the name decides.
    """
    scale = ranking_scale(results)
    findings = Findings(results)
    if scale is None:
        return {point: sorted(findings.clips)[:worst] for point in findings.points}
    chosen = {}
    for point in findings.points:
        ranked = sorted((scale.goodness(value), clip) for clip, value in findings.values(point, scale).items())
        chosen[point] = [clip for _, clip in ranked[:worst]]
    return chosen
