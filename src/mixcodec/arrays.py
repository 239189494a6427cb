"""Numbers and arrays as callers have them, of Python, numpy or torch, made plain."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.errors import MixcodecError

SHOWN = 60
"""A message repeats no more characters than these of a value."""


def shown(value: object) -> str:
    """`value` as a message repeats it: in one line, and cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # whatever a stranger's __repr__ does, and RecursionError
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def integer(value: Any) -> int | None:
    """`value` as an int, if it is a whole number of any type; None for whatever else, bools and text too."""
    value = _scalar(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, float | np.floating):
        return int(value) if value.is_integer() else None
    try:
        return operator.index(value)
    except TypeError:
        return None


def number(value: Any) -> float | None:
    """`value` as a float, if it is a real number of any type, finite or not; None for whatever else, bools and text too."""
    value = _scalar(value)
    if isinstance(value, bool | str | bytes | bytearray | complex):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def whole(value: Any, name: str, low: int, high: int, error: type[MixcodecError]) -> int:
    """`value` as an int, if it is a whole number from `low` to `high`; otherwise `error` is raised, which calls it `name`."""
    plain = integer(value)
    if plain is None or not low <= plain <= high:
        raise error(f"{name} must be a whole number from {low} to {high}, not {shown(value)}")
    return plain


def as_array(value: Any, name: str, error: type[MixcodecError]) -> NDArray[Any]:
    """`value`, an array, a torch tensor or nested lists, as a numpy array; `error` is raised where it is none of them."""
    try:
        if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor; torch itself is not imported here
            value = value.detach().cpu()
            if "bfloat16" in str(value.dtype):  # which numpy does not know
                value = value.float()
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise error(f"{name} must be a numpy array, a torch tensor or lists of equal lengths, not {shown(value)}") from None


def _scalar(value: Any) -> Any:
    """What a numpy or torch scalar, or an array of no axes, holds; None where it holds no number. Others stay as they are."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.ndarray) or (isinstance(value, np.generic) and value.dtype.kind not in "iuf"):
        return None
    if isinstance(value, np.generic):
        return value if isinstance(value, np.longdouble) else value.item()
    if hasattr(value, "ndim") and hasattr(value, "item"):
        return value.item() if value.ndim == 0 else None
    return value
