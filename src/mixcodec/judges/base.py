"""What all judges share."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator


class UnscorableError(Exception):
    """A clip on which a judge has no value (silence, too short, no speech found); says why in a few words."""


def finite(value: float, what: str) -> float:
    """`value` where it is a finite number. Raises UnscorableError."""
    value = float(value)
    if not math.isfinite(value):
        raise UnscorableError(f"{what} gave {value}")
    return value


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: a network this small is slower on more, and gives other last digits for every number of them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
