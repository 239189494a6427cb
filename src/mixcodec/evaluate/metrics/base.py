"""The one protocol of all metrics."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar

from mixcodec.audio import Wave
from mixcodec.registry import Registry


class UnscorableError(Exception):
    """A clip on which a metric has no value (silence, too short, no speech found); says why in a few words."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """One number that a metric gives: how to call it, and how to read it."""

    name: str
    """The column in results: lower case, with underscores."""
    title: str
    """As tables and plots call it."""
    low: float
    high: float
    higher_is_better: bool
    unit: str = ""
    digits: int = 3
    """Decimals in tables."""

    @property
    def best(self) -> float:
        """What a perfect copy is given, for a metric that compares with the reference."""
        return self.high if self.higher_is_better else self.low

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is a better value than `other`."""
        return one > other if self.higher_is_better else one < other


class Metric(abc.ABC):
    """Measures a decoded clip, by itself or against its reference: one mono clip, one or several numbers.

    A member states its facts as class attributes, and is registered in METRICS under its kind. What it can work out
    from the reference alone it does in `prepare`, once for all codecs.
    """

    kind: ClassVar[str]
    scales: ClassVar[tuple[Scale, ...]]
    source: ClassVar[str]
    """Author, year, title; and which implementation computes it here."""
    sample_rate: ClassVar[int | None]
    """Hz at which it is computed (the caller resamples); None: at the rate of the evaluation."""
    compares: ClassVar[bool] = True
    """Whether it compares with the reference; else it judges the decoded clip alone, and nothing is its best value."""
    speech_only: ClassVar[bool] = False
    """Whether it says nothing about music."""
    coarse: ClassVar[bool] = False
    """Whether it counts few things (words), so that what is a little worse may have the same value."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version decides its values, besides numpy, scipy and soxr."""
    extra: ClassVar[str] = "eval"
    """The extra of mixcodec that brings what it needs."""

    def check(self) -> None:  # noqa: B027 - most metrics need nothing that `mixcodec[eval]` does not bring
        """Raise MissingPartError, in one line, where a package or a model is missing."""

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> Any:
        """What `measure` needs of the reference, a mono wave (N,) at `sample_rate` Hz; `text` is what is said in it."""
        return reference

    @abc.abstractmethod
    def measure(self, prepared: Any, wave: Wave, sample_rate: int) -> dict[str, float]:
        """The value of every scale, for `wave` (N,), as long as the reference.

        Raises:
            UnscorableError: there is no value for this clip.
        """


def finite(value: float, what: str) -> float:
    """`value` where it is a finite number. Raises UnscorableError."""
    value = float(value)
    if not math.isfinite(value):
        raise UnscorableError(f"{what} gave {value}")
    return value


METRICS: Registry[Metric] = Registry("metric", outside=True)
