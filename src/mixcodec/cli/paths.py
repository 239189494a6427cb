"""Where a command writes: its result when it is not told, and what it says of that."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from mixcodec.errors import UsageError
from mixcodec.files import is_stream


def summary_stream(target: str) -> TextIO:
    """Where to say what has been written to `target`: on standard error where that is a stream, such as /dev/stdout."""
    return sys.stderr if is_stream(target) and os.path.realpath(target) != os.devnull else sys.stdout


def target_beside(source: str, suffix: str) -> str:
    """`source` with its suffix replaced; ``-`` where the source is standard input.

    A file that is there already is kept where it cannot be a former result of the same command: the wav of
    ``decode talk.mxc`` is not written over the recording ``talk.wav``, but to ``talk.decoded.wav``.

    Raises:
        UsageError: that is the source itself.
    """
    if source == "-":
        return "-"
    stem, old = os.path.splitext(source)
    if old.lower() == suffix:
        raise UsageError(f"{source}: is the input itself; name the output with -o")
    if suffix == ".wav" and os.path.exists(stem + suffix):
        return f"{stem}.decoded{suffix}"
    return stem + suffix
