"""Several signals at a time, each as if alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from mixcodec.arrays import shown, whole
from mixcodec.errors import UsageError
from mixcodec.tokens import Tokens

MAX_THREADS = 1 << 10

Given = TypeVar("Given")
Made = TypeVar("Made")


def listed(items: Any, name: str) -> list[Any]:
    """What there is to do, as a list. Raises UsageError."""
    if isinstance(items, str | bytes | Mapping | Tokens) or not isinstance(items, Iterable):
        raise UsageError(f"{name} must be a list, not {shown(items)}")
    return list(items)


def on_threads(do: Callable[[Given], Made], items: Sequence[Given], threads: int | None) -> list[Made]:
    """`do` of each item, in their order. The error of the first item that fails is raised; those not yet begun are dropped."""
    count = usable_cores() if threads is None else whole(threads, "threads", 1, MAX_THREADS, UsageError)
    count = min(count, len(items))
    if count < 2:
        return [do(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(count, "mixcodec") as pool:
        waiting = [pool.submit(do, item) for item in items]
        try:
            return [each.result() for each in waiting]
        finally:
            for each in waiting:
                each.cancel()


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
