"""A claim measured: a table, and what it says; the command that measures it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixcodec.errors import MixcodecError
from mixcodec.usage import parse


def command(run: Callable[[Any], None], arguments: type) -> int:
    """Runs a command with the arguments of its line; a user's mistake is one line and exit status 2."""
    try:
        run(parse(arguments, f"python -m mixcodec.evaluate.claims.{Path(inspect.getfile(run)).stem}"))
    except MixcodecError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


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
