"""What a user writes for codecs and their operating points: kind[:model][@setting,setting,...]."""

from __future__ import annotations

from collections.abc import Sequence

from mixcodec.errors import UsageError
from mixcodec.evaluate.baselines.base import CODERS, Coder
from mixcodec.registry import nearest


def parse_points(specs: Sequence[str]) -> list[Coder]:
    """The coders that `specs` name, such as "mixcodec:speech-16k@1.5,3", "opus@6,12" and "identity", in their order.

    Raises:
        UsageError: no such codec, a setting that is no number, or an operating point that is named twice.
    """
    coders: list[Coder] = []
    for spec in specs:
        name, at, listed = spec.rpartition("@") if "@" in spec else (spec, "", "")
        kind, colon, model = name.partition(":")
        if kind not in CODERS.kinds():
            raise UsageError(f"no codec {kind!r} (in {spec!r}): {nearest(kind, CODERS.kinds())}")
        if (at and not listed) or (colon and not model):
            raise UsageError(f"{spec!r} is cut short; write it as kind:model@setting,setting")
        if model and not CODERS.build(kind).takes_model:
            raise UsageError(f"{kind} has no models to choose from (in {spec!r}); write {kind}@setting")
        for setting in _settings(spec, listed) if at else [None]:
            coder = CODERS.build({"kind": kind, "setting": setting, "model": model or None})
            if coder.point in {other.point for other in coders}:
                raise UsageError(f"{coder.point} is named twice; name every operating point once")
            coders.append(coder)
    if not coders:
        raise UsageError("no codec is named; give some, such as --codecs mixcodec:speech-16k@1.5,3 opus@6")
    return coders


def _settings(spec: str, listed: str) -> list[float]:
    try:
        return [float(word) for word in listed.split(",")]
    except ValueError:
        raise UsageError(f"{spec!r}: the settings after @ are numbers with commas between, such as opus@6,12") from None
