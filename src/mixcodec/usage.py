"""Command lines read by tyro, whose boxed explanations of a mistake become one line."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from typing import TypeVar

from mixcodec.errors import UsageError

Result = TypeVar("Result")


def parse(call: Callable[..., Result], program: str, arguments: Sequence[str] | None = None) -> Result:
    """What `call`, a function or a dataclass, gives with `arguments`, by default those of this process; `program` is its name.

    Help is printed and ends the process: SystemExit with status 0.

    Raises:
        UsageError: the arguments cannot be parsed; why, in one line.
    """
    import tyro

    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(call, prog=program, args=arguments)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(f"{_one_line(said.getvalue())}; see {program} --help") from None


def _one_line(box: str) -> str:
    """The first paragraph of tyro's box and the nearest option it names, without the box."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│╭╰╮╯ ") for line in plain.splitlines()]
    rules = [number for number, line in enumerate(lines) if set(line) <= {"─"}]
    said = " ".join(lines[1 : rules[0] if rules else None]).removesuffix(".")
    guess = lines.index("Perhaps you meant:") if "Perhaps you meant:" in lines else None
    return said + (f"; perhaps you meant {lines[guess + 1]}" if guess is not None else "")
