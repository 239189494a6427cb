"""Which entropy coding a header names, and a packet's codes through it."""

from __future__ import annotations

from mixcodec.bitstream.header import Header
from mixcodec.bitstream.packet import Layout
from mixcodec.entropy import ENTROPY_MODELS, KINDS, EntropyModel, Tables
from mixcodec.entropy.model import Codes
from mixcodec.errors import BitstreamError, ModelError, NewerVersionError
from mixcodec.tokens import ABSENT


def usable_codings(tables: Tables | None) -> list[int]:
    """The numbers of the codings that can be had with, or without, a model's tables."""
    return [number for number, kind in KINDS.items() if tables is not None or "tables" not in ENTROPY_MODELS.options(kind)]


def coding_for(header: Header, tables: Tables | None) -> EntropyModel:
    """The entropy model that `header` names, with the model's tables.

    Raises:
        NewerVersionError: this mixcodec does not know it.
        ModelError: it needs tables, and there are none or others.
    """
    if header.coding not in KINDS:
        raise NewerVersionError(f"uses entropy coding {header.coding}, which this mixcodec does not know; upgrade mixcodec")
    kind = KINDS[header.coding]
    needs = "tables" in ENTROPY_MODELS.options(kind)
    if needs and (tables is None or tables.fingerprint != header.tables):
        has = "there are none" if tables is None else "there are others"
        wanted = f"entropy tables {header.tables:08x} of model {header.model}"
        raise ModelError(f"needs {wanted}, and {has}; get the model that it was made with")
    if needs and tables is not None and (tables.size != header.codebook_size or len(tables.books) < header.most_codebooks):
        raise BitstreamError(f"has other codebooks than the entropy tables of model {header.model}")
    return ENTROPY_MODELS.build(kind, size=header.codebook_size, tables=tables)


def codes_to_payload(coding: EntropyModel, codes: Codes, layout: Layout) -> bytes:
    """The payload of a packet of codes (C, frames, at least as many codebooks as `layout` has)."""
    books = layout.codebooks + (layout.more > 0)
    kept = codes[:, : layout.frames, :books].copy()
    kept[:, layout.more :, layout.codebooks :] = ABSENT
    return coding.encode(kept)


def payload_to_codes(coding: EntropyModel, payload: bytes, channels: int, layout: Layout) -> Codes:
    """The codes (C, frames, most codebooks of a frame) of a payload, ABSENT where a frame has none.

    Raises:
        BitstreamError: it is not what `codes_to_payload` makes of any codes.
    """
    return coding.decode(payload, layout.counts, channels, layout.codebooks + (layout.more > 0))
