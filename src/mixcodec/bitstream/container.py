"""Tokens <-> `.mxc` files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from io import BytesIO

import numpy as np

from mixcodec.bitstream.coding import codes_to_payload, coding_for, payload_to_codes, usable_codings
from mixcodec.bitstream.header import MAX_PACKET_CODES, MAX_RATIO, Header
from mixcodec.bitstream.packet import Layout
from mixcodec.bitstream.reader import MxcReader, Packet
from mixcodec.bitstream.writer import MxcWriter
from mixcodec.entropy import ENTROPY_MODELS, KINDS, Adaptive, EntropyModel, Tables
from mixcodec.entropy.adaptive import MAX_COUNT
from mixcodec.entropy.coder import TOTAL
from mixcodec.entropy.model import Codes
from mixcodec.errors import BitstreamError, ModelError
from mixcodec.files import Source, Target, atomic_output, display_name, seekable_input
from mixcodec.tokens import ABSENT, Tokens

PACKET_FRAMES = 200
"""Frames of a packet where nothing else is asked for: 4 s at 50 Hz."""
TRIAL_PACKETS = 4
"""So many packets, evenly over the signal, are coded to find out which coding takes the fewest bytes."""

CODER_BITS = 64.0
"""What the coder may hold at the end of a packet without having written it."""

TablesFor = Callable[[Header], Tables | None]
"""The entropy tables of the model that made a file, if they are at hand."""


def packet_frames_for(channels: int, codebooks: int, wanted: int = PACKET_FRAMES) -> int:
    """Frames of a packet, at most `wanted`, such that it holds no more codes than the format allows."""
    return max(1, min(wanted, MAX_PACKET_CODES // (channels * codebooks)))


def packet_frames_that_hold(codes: Codes, most: int) -> int:
    """The greatest number of frames, at most `most`, such that packets of so many can hold the codes (C, T, k).

    In a packet the first frames may have one code more than the others, which is how a bitrate is filled. A part of such tokens
    may take smaller packets: at worst, of one frame.
    """
    counts = (codes[0] != ABSENT).sum(-1)
    steps = np.diff(counts)
    rises = np.flatnonzero(steps > 0) + 1  # only a new packet has more codes than the one before
    for frames in range(most, 1, -1):
        if (rises % frames).any():
            continue
        filled = np.pad(counts, (0, -len(counts) % frames), mode="edge") if len(counts) else counts
        packets = filled.reshape(-1, frames)
        if not (packets[:, 0] - packets[:, -1] > 1).any():
            return frames
    return 1


def layout_of(codes: Codes) -> Layout:
    """How the codes (C, t, k) of a packet lie in its frames: none has more than one before it, or two fewer."""
    counts = (codes[0] != ABSENT).sum(-1)
    fewest = int(counts.min())
    return Layout(len(counts), fewest, int((counts > fewest).sum()))


def cheapest_coding(packets: Iterable[tuple[Codes, Layout]], codebook_size: int, tables: Tables | None) -> EntropyModel:
    """The coding that takes the fewest bytes for these packets; of equals that of the lowest number."""
    packets = list(packets)

    def spent(coding: EntropyModel) -> int:
        return sum(len(codes_to_payload(coding, codes, layout)) for codes, layout in packets)

    numbers = (number for number in usable_codings(tables) if number != Adaptive.number)  # that one is slow: see below
    codings = [ENTROPY_MODELS.build(KINDS[number], size=codebook_size, tables=tables) for number in numbers]
    fewest, _, best = min((spent(coding), coding.number, coding) for coding in codings)
    if fewest > sum(_adaptive_floor(codes, codebook_size) for codes, _ in packets):
        adaptive = Adaptive(codebook_size)
        if (spent(adaptive), adaptive.number) < (fewest, best.number):
            return adaptive
    return best


def _adaptive_floor(codes: Codes, codebook_size: int) -> float:
    """Bytes that the adaptive coding takes at least, see `Adaptive`: what its estimates cost, less what can be saved by tables in
    which a frequency is rounded up and by a coder that begins empty.
    """
    bits = -CODER_BITS
    for book in range(codes.shape[2]):
        found = codes[..., book].T.ravel()
        found = found[found != ABSENT]
        if found.size > MAX_COUNT:
            return 0.0
        counts: dict[int, int] = {}
        for before, code in enumerate(found.tolist()):
            if count := counts.get(code, 0):
                bits += math.log2(before / count)
            counts[code] = count + 1
        seen, new = found.size, len(counts)
        if seen:  # the first code needs no flag; the rule of succession gives every order of the others the same bits
            flags = math.lgamma(seen + 2) - math.lgamma(seen - new + 1) - math.lgamma(new + 1)
            bits += new * math.log2(codebook_size) + flags / math.log(2) - 1
            bits -= seen * math.log2(1 + (new * new + seen + 2) / TOTAL) + math.log2(1 + codebook_size**2 / TOTAL)
    return max(0.0, bits / 8)


def usable_tables(tables: Tables | None, codebook_size: int, codebooks: int) -> Tables | None:
    """`tables` if they are for such codes."""
    return tables if tables and tables.size == codebook_size and len(tables.books) >= codebooks else None


def tokens_to_bytes(tokens: Tokens, tables: Tables | None = None, metadata: Mapping[str, str] | None = None) -> bytes:
    """The `.mxc` file of `tokens`, in the coding that takes the fewest bytes.

    Codes of shape (1, T, K) come back from it as (T, K), and codebooks that no frame has do not come back.

    Args:
        tables: the entropy tables of the model that made the tokens: with them files are smaller.
        metadata: UTF-8 keys and values to keep with them.

    Raises:
        BitstreamError: the tokens or the metadata break a limit of the format.
    """
    tables = usable_tables(tables, tokens.codebook_size, tokens.codebooks)
    codes = tokens.codes.reshape(tokens.channels, tokens.frames, tokens.codebooks)
    frames = packet_frames_that_hold(codes, packet_frames_for(tokens.channels, tokens.codebooks))
    pieces = [codes[:, start : start + frames] for start in range(0, tokens.frames, frames)]
    layouts = [layout_of(piece) for piece in pieces]
    step = -(-len(pieces) // TRIAL_PACKETS) or 1
    coding = cheapest_coding(list(zip(pieces, layouts, strict=True))[::step], tokens.codebook_size, tables)
    usual = layouts[0] if layouts else Layout(frames, tokens.codebooks, 0)
    header = Header(
        model=tokens.model,
        fingerprint=tokens.fingerprint,
        sample_rate=tokens.sample_rate,
        channels=tokens.channels,
        codebooks=usual.codebooks,
        more=usual.more if usual.frames == frames else 0,
        most_codebooks=max([layout.codebooks + (layout.more > 0) for layout in layouts], default=tokens.codebooks),
        codebook_size=tokens.codebook_size,
        frame_rate=Fraction(tokens.frame_rate).limit_denominator(MAX_RATIO),
        packet_frames=frames,
        coding=coding.number,
        tables=coding.mark,
        length=(tokens.sample_count, tokens.frames),
        metadata=metadata or {},
    )
    file = BytesIO()
    writer = MxcWriter(file, header, coding)
    for piece, layout in zip(pieces, layouts, strict=True):
        writer.packet(piece, layout)
    writer.finish(tokens.sample_count)
    return file.getvalue()


def bytes_to_tokens(data: bytes, name: str = "data", tables_for: TablesFor | None = None) -> Tokens:
    """The tokens in the bytes of a `.mxc` file; `name` is what messages call it.

    Raises:
        BitstreamError: it is not a `.mxc` file, is damaged, cut short, or has bytes to spare.
        ModelError: it is coded with tables of its model, which `tables_for` does not have.
    """
    return _read_tokens(MxcReader(BytesIO(data), name), tables_for)


def write_mxc(target: Target, tokens: Tokens, tables: Tables | None = None, metadata: Mapping[str, str] | None = None) -> None:
    """Write `tokens` as a `.mxc` file to a path (``-`` is standard output) or an open binary file; see `tokens_to_bytes`.

    Raises:
        BitstreamError: the tokens break a limit of the format.
        FileError: the target cannot be written.
    """
    data = tokens_to_bytes(tokens, tables, metadata)
    with atomic_output(target) as file:
        file.write(data)


def read_mxc(source: Source, tables_for: TablesFor | None = None) -> Tokens:
    """Read a whole `.mxc` file: a path (``-`` is standard input), its bytes, or an open binary file; see `bytes_to_tokens`.

    Raises:
        FileError, BitstreamError, ModelError: it cannot be opened, is not an intact `.mxc` file, or its model's tables lack.
    """
    with seekable_input(source) as file:
        return _read_tokens(MxcReader(file, display_name(source)), tables_for)


def decoded_packets(reader: MxcReader, coding: EntropyModel, packets: Iterable[Packet]) -> Iterator[Codes]:
    """The codes (C, t, most codebooks of the file) of each of the packets, ABSENT where a frame has none.

    Raises:
        BitstreamError: a payload is not one of any codes.
    """
    header = reader.header
    for packet in packets:
        try:
            codes = payload_to_codes(coding, packet.payload, header.channels, packet.layout)
        except BitstreamError as error:
            raise reader.bad(str(error)) from None
        lacking = header.most_codebooks - codes.shape[2]
        yield np.pad(codes, ((0, 0), (0, 0), (0, lacking)), constant_values=ABSENT) if lacking else codes


def _read_tokens(reader: MxcReader, tables_for: TablesFor | None) -> Tokens:
    header, end = reader.header, reader.verify()
    try:
        coding = coding_for(header, tables_for(header) if tables_for else None)
    except (BitstreamError, ModelError) as error:
        raise type(error)(f"{reader.name}: {error}") from None
    none = np.zeros((header.channels, 0, header.most_codebooks), np.int64)
    codes = np.concatenate([none, *decoded_packets(reader, coding, reader.packets())], axis=1)
    return Tokens(
        codes=codes[0] if header.channels == 1 else codes,
        frame_rate=float(header.frame_rate),
        sample_count=end.sample_count,
        sample_rate=header.sample_rate,
        codebook_size=header.codebook_size,
        model=header.model,
        fingerprint=header.fingerprint,
    )
