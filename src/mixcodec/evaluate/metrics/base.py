"""The one protocol of all metrics."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

from mixcodec.audio import Wave
from mixcodec.judges.base import UnscorableError, finite
from mixcodec.registry import Registry

__all__ = ["METRICS", "Metric", "Scale", "UnscorableError", "explained", "finite"]


DAGGER = "†"
FOLLOWED = f"{DAGGER} Losses of mixcodec's models follow this figure, so it may praise them for more than is heard."
"""What stands below a table with marked scales."""


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
    middle: float | None = None
    """The best value, where that is neither end: the nearer, the better, and `higher_is_better` says nothing."""
    compares: bool = True
    """Whether it compares with the reference; else it judges the decoded clip alone, and nothing is its best value."""
    coarse: bool = False
    """Whether it counts few things (words), so that what is a little worse may have the same value."""
    followed: bool = False
    """Whether a loss of the codecs trained here follows it, so that it may praise them for more than is heard."""

    @property
    def marked(self) -> str:
        """The title, with a dagger where a loss follows the scale; FOLLOWED tells the reader what that means."""
        return f"{self.title} {DAGGER}" if self.followed else self.title

    @property
    def better_is(self) -> str:
        """Which values are better, in words."""
        if self.middle is not None:
            return f"nearer to {self.middle:g}"
        return "higher" if self.higher_is_better else "lower"

    @property
    def best(self) -> float:
        """What a perfect copy is given, of a scale that compares with the reference."""
        if self.middle is not None:
            return self.middle
        return self.high if self.higher_is_better else self.low

    def goodness(self, value: float) -> float:
        """A number that grows as `value` gets better: the value, its negative, or minus its distance from the middle."""
        if self.middle is not None:
            return -abs(value - self.middle)
        return value if self.higher_is_better else -value

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is a better value than `other`."""
        return self.goodness(one) > self.goodness(other)


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
    speech_only: ClassVar[bool] = False
    """Whether it says nothing about music."""
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


def explained(note: str, scales: Iterable[Scale]) -> str:
    """`note`, and what the mark means where one of the `scales` has it."""
    return " ".join(part for part in (note, FOLLOWED if any(scale.followed for scale in scales) else "") if part)


METRICS: Registry[Metric] = Registry("metric", outside=True)
