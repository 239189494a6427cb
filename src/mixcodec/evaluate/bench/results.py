"""What a benchmark run found: every raw sample, and what is needed to read them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
DIRECTIONS = ("encode", "decode")


@dataclass(frozen=True)
class Sample:
    """One run of something: seconds of the clock, and seconds of CPU time (user and system, all threads)."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Spread:
    """The middle of some values, and how far they reach."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


@dataclass
class Subject:
    """A codec as it was measured."""

    name: str
    kind: str
    title: str
    sample_rate: int
    note: str


@dataclass
class Startup:
    """Whole processes, from a cold interpreter."""

    what: str
    samples: list[Sample]
    base: bool = False
    """Whether the others are compared with this one."""


@dataclass
class Speed:
    """Warm runs over `seconds` of audio."""

    subject: str
    threads: int
    direction: str
    seconds: float
    samples: list[Sample]

    def times_real(self, of: Callable[[Sample], float]) -> Spread:
        """Seconds of audio in one second of the clock or of CPU time; infinite where that was too short to be seen."""
        return spread([self.seconds / value if (value := of(sample)) > 0 else float("inf") for sample in self.samples])


@dataclass
class Memory:
    """The peak of one fresh process that codes a file of `seconds`."""

    subject: str
    direction: str
    seconds: float
    megabytes: float | None
    """10^6 bytes of physical memory at the most; None where a limit ended it or it was not run."""
    problem: str = ""
    wall: float | None = None


@dataclass
class Flops:
    """Arithmetic of one direction."""

    subject: str
    direction: str
    per_second: float
    """Floating-point operations for each second of audio: two for each multiply-add of a convolution or a matrix product."""
    uncounted: list[str] = field(default_factory=list)
    """Operators that are such products but could not be counted: the number is then a lower bound."""


@dataclass
class BenchResults:
    """A whole run."""

    about: dict[str, Any]
    """command, date, machine, versions, audio, settings, load_before, load_after, busy_cores."""
    subjects: list[Subject]
    ours: str
    """The subject that the others are compared with."""
    startup: list[Startup] = field(default_factory=list)
    speed: list[Speed] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    flops: list[Flops] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)
    """Peer -> reason."""
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the medians and spreads beside the raw samples."""
        plain: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(self)}
        for row, startup in zip(plain["startup"], self.startup, strict=True):
            for clock in ("wall", "cpu"):
                row[clock] = dataclasses.asdict(spread([getattr(sample, clock) for sample in startup.samples]))
        for row, speed in zip(plain["speed"], self.speed, strict=True):
            row["times_real_wall"] = dataclasses.asdict(speed.times_real(lambda sample: sample.wall))
            row["times_real_cpu"] = dataclasses.asdict(speed.times_real(lambda sample: sample.cpu))
        return plain
