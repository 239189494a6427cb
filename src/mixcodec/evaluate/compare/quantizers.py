"""Quantizers at matched bitrate: every registered kind in place of the base codec's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mixcodec.errors import ConfigError
from mixcodec.evaluate.compare.variants import Variant, chosen_kinds, reason, with_part
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.nn.quantizers.base import Quantizer

CONTROLS = ("none", "vae")
"""Kinds that do not quantize: no bitrate is matched, and they are marked."""
DROPPING = {"dropout": 0.5}
"""Kinds that train with fewer codebooks now and then, and the share of the items: the trainer draws the number."""
MATCH = 0.03
"""Bits may differ by this share."""
SINGLE_BITS = 14
"""Bits of the one code of a frame in the table of single codebooks."""
GROUP_FRAMES = 8
"""Frames of a group of tokens."""
MOST_LEVELS = 12
"""Numbers that finite scalar quantization may round."""
DIM = 8
"""Dimensions of the large codebooks."""

Config = dict[str, Any]


def quantizer_variants(codec: Mapping[str, Any], wanted: Sequence[str] = ()) -> list[Variant]:
    """Two tables of variants of `codec`: at the bits of its own quantizer, and with one code of SINGLE_BITS bits a frame.

    A kind with one codebook stands, in the first, as every level of a residual quantizer, with as many levels and entries
    as come nearest. A kind that does not reach the bits is a variant with a problem.

    Raises:
        ConfigError: `wanted` names a kind that is not there, or the codec's quantizer makes no codes.
    """
    kinds = chosen_kinds(QUANTIZERS, wanted)
    channels = int(codec["latent"])
    base = QUANTIZERS.build(codec["quantizer"], channels=channels)
    bits = bits_of(base)
    many = f"{bits * float(codec['sample_rate']) / int(codec['transform']['hop']) / 1000:.3g} kbps"
    found = []
    for kind in kinds:
        single = single_form(kind)
        if kind in CONTROLS:
            found.append(Variant(kind, kind, many, with_part(codec, "quantizer", {"kind": kind}), control=True))
            continue
        if forms := list(matched_forms(kind, codec["quantizer"], base)):
            found.append(_variant(kind, many, codec, forms, bits, channels))
        elif single is None:
            found.append(Variant(kind, kind, many, problem=f"no form of it is known to make {bits:g} bits a frame"))
        if single is not None:
            found.append(_variant(kind, f"one code of {SINGLE_BITS} bits", codec, [single], SINGLE_BITS, channels))
    return found


def bits_of(quantizer: Quantizer, books: int | None = None) -> float:
    """Bits of a frame's codes of the first `books` codebooks (all if None), without entropy coding."""
    return math.log2(quantizer.size) * sum(1 / stride for stride in quantizer.strides[:books])


def _variant(kind: str, group: str, codec: Mapping[str, Any], forms: Sequence[Config], bits: float, channels: int) -> Variant:
    """The first form that can be built with about `bits` bits; else a variant with the nearest miss as its problem."""
    misses: list[tuple[float, str]] = []
    for form in forms:
        try:
            quantizer = QUANTIZERS.build(form, channels=channels)
        except Exception as error:  # a kind that breaks must not take the others with it
            misses.append((math.inf, reason(error)))
            continue
        off = abs(bits_of(quantizer) / bits - 1)
        if off <= MATCH:
            return Variant(_name(form), kind, group, with_part(codec, "quantizer", form), dropout=DROPPING.get(kind))
        misses.append((off, f"{form} makes {bits_of(quantizer):.4g} bits a frame, not {bits:.4g}"))
    return Variant(kind, kind, group, problem=min(misses)[1])


def _name(form: Config) -> str:
    """The kind, with that of its codebooks in brackets."""
    inner = form.get("codebook", form.get("quantizer"))
    return str(form["kind"]) + (f" ({inner['kind']})" if isinstance(inner, Mapping) and "kind" in inner else "")


def matched_forms(kind: str, own: Mapping[str, Any] | str, base: Quantizer) -> Iterator[Config]:
    """Forms of `kind` that make about as many bits a frame as `base`, which `own` describes; the likeliest first."""
    bits, books = bits_of(base), base.codebooks
    entries = 2 ** round(bits / books)
    inner = dict(own.get("codebook") or {}) if isinstance(own, Mapping) else {}
    inner = {"kind": "vq", "size": entries} | inner
    options = QUANTIZERS.options(kind)
    if isinstance(own, Mapping) and kind == own["kind"]:
        yield dict(own)
    elif kind in FORMS:
        yield {"kind": kind} | FORMS[kind](books, inner, dict(own) if isinstance(own, Mapping) else {"kind": own})
    elif "codebooks" in options and "codebook" in options:
        yield {"kind": kind, "codebooks": books, "codebook": inner}
    elif "codebooks" in options and "size" in options:
        for size in (entries, 19):
            yield {"kind": kind, "codebooks": round(bits / math.log2(size)), "size": size}
    elif single_form(kind) is not None and "codebook" not in options and kind != inner["kind"]:  # else it is the base
        yield {"kind": "residual", "codebooks": books, "codebook": {"kind": kind} | sized(kind, entries, inner)}


FORMS: Mapping[str, Callable[[int, Config, Config], Config]] = {
    "codebook_features": lambda books, inner, own: {"size": inner["size"], "top": books},
    "dropout": lambda books, inner, own: {"quantizer": own},
    "merged_residual": lambda books, inner, own: {"strides": [2, 2] + [1] * (books - 1), "codebook": inner},
    "multi_scale": lambda books, inner, own: {"strides": [4, 4, 2] + [1] * (books - 1), "codebook": inner},
    "scalar": lambda books, inner, own: {"codebooks": round(books * math.log2(inner["size"]) / math.log2(19)), "size": 19},
    "tail_drop": lambda books, inner, own: {"frames": GROUP_FRAMES, "tokens": GROUP_FRAMES * books},
}
"""Of kinds with options of their own: those options for so many codebooks like `inner`, in place of the quantizer `own`."""


def sized(kind: str, entries: int, like: Mapping[str, Any]) -> Config:
    """Options of a kind of one codebook that give it about `entries` entries, of the dimension of `like`."""
    options = QUANTIZERS.options(kind)
    if "levels" in options:
        return {"levels": levels_of(entries)}
    return {"size": entries} | {name: like[name] for name in ("dim",) if name in options and name in like}


def levels_of(entries: int) -> list[int]:
    """Levels of a few numbers whose product comes near to `entries`: as few numbers as do, none with more than 8 levels."""
    for count in range(1, MOST_LEVELS + 1):
        low = max(3, math.floor(entries ** (1 / count)))
        for more in range(count + 1):
            levels = [low + 1] * more + [low] * (count - more)
            if max(levels) <= 8 and abs(math.log(math.prod(levels)) / math.log(entries) - 1) <= MATCH / 3:
                return levels
    raise ConfigError(f"no levels from 3 to 8 multiply to about {entries}")


def single_form(kind: str) -> Config | None:
    """`kind` with one code of SINGLE_BITS bits a frame; None where it is not of that sort."""
    options = QUANTIZERS.options(kind)
    if kind == "reduced":
        return {"kind": kind, "digits": 2, "codebook": {"kind": "vq", "size": 2**SINGLE_BITS, "dim": DIM}}
    if kind in FORMS or kind in CONTROLS or {"codebooks", "codebook"} & set(options) or not {"size", "levels"} & set(options):
        return None
    return {"kind": kind} | sized(kind, 2**SINGLE_BITS, {"dim": DIM})
