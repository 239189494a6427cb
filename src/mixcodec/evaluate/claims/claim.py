"""A claim measured: a table, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Claim:
    """A table, and what it says of the claim."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    verdict: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the verdict rests on."""

    def __str__(self) -> str:
        """As Markdown."""
        lines = [f"### {self.title}", "", f"| {' | '.join(self.columns)} |"]
        lines.append(f"| --- |{' ---: |' * (len(self.columns) - 1)}")
        lines += [f"| {' | '.join(cell if isinstance(cell, str) else f'{cell:.3g}' for cell in row)} |" for row in self.rows]
        return "\n".join([*lines, "", self.verdict, ""])
