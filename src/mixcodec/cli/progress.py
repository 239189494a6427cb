"""A progress bar for work that turns out to be long, and none for the rest or where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 1.5
"""Seconds before a bar appears; until then not even the library that draws it is loaded."""


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float, float], None] | None]:
    """Yield a function to call with (seconds of audio done, seconds there are); None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(label)
    try:
        yield bar.update
    finally:
        bar.close()


class _Bar:
    def __init__(self, label: str) -> None:
        self._label = label
        self._begun = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def update(self, done: float, total: float) -> None:
        if self._bar is None:
            if time.monotonic() - self._begun < PATIENCE or done >= total:
                return
            self._open(total)
        self._bar.update(self._task, completed=done)

    def _open(self, total: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._label, total=total)
        self._bar.start()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
