"""The header of a `.mxc` file, version 2. The specification is docs/bitstream.md."""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from mixcodec.audio import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from mixcodec.bitstream.varint import CutShortError, Fields, varint
from mixcodec.errors import BitstreamError, NewerVersionError
from mixcodec.tokens import FINGERPRINT, MODEL_NAME, code_bits

MAGIC = b"mxc"
VERSION = 2
LENGTH_KNOWN = 1
"""The only flag: the header says how long the signal is; without it the end record does."""
CHECK_BYTES = 2
FINGERPRINT_BYTES = 16

MAX_CODEBOOKS = 64
MAX_CODEBOOK_SIZE = 1 << 16
MAX_SAMPLES = 1 << 48
MAX_FRAMES = 1 << 40
MAX_RATIO = 1 << 20
MAX_PACKET_FRAMES = 1 << 12
MAX_PACKET_CODES = 1 << 16
"""Of all frames, channels and codebooks of one packet: what a reader has to hold at once."""
MAX_CODINGS = 1 << 8
FIRST_WITH_TABLES = 3
"""Codings of this number and above need the model's tables, and the header says which."""
MAX_METADATA_BYTES = 1 << 16
MAX_KEY_BYTES = 64
MAX_HEADER_BYTES = MAX_METADATA_BYTES + 256
"""No valid header is longer, so nobody has to read further to parse one."""

USUAL_HEADER_BYTES = 256
"""Enough for a header without much metadata: what is read first."""


@dataclass(frozen=True)
class Header:
    """What a `.mxc` file says about itself before its packets.

    Attributes:
        model: name of the model that made it.
        fingerprint: 32 hex digits, that model's exact weights.
        sample_rate: of the original signal, Hz.
        channels: of the original signal.
        codebooks: codes of a frame, in every regular packet.
        more: in every regular packet so many frames, the first ones, have one code more.
        most_codebooks: no frame of any packet has more codes.
        codebook_size: every code is below it.
        frame_rate: frames per second as an exact fraction, Hz.
        packet_frames: frames of a regular packet; only the last packet may have fewer.
        coding: number of the entropy model, see `mixcodec.entropy.KINDS`.
        tables: CRC-32 of the tables that the coding uses; 0 where it uses none.
        length: (samples per channel, frames), or None where only the end record knows.
        metadata: UTF-8 keys and values.
    """

    model: str
    fingerprint: str
    sample_rate: int
    channels: int
    codebooks: int
    more: int
    most_codebooks: int
    codebook_size: int
    frame_rate: Fraction
    packet_frames: int
    coding: int
    tables: int = 0
    length: tuple[int, int] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits = {
            "sample rate": (self.sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
            "channel count": (self.channels, 1, MAX_CHANNELS),
            "codebook count": (self.most_codebooks, 1, MAX_CODEBOOKS),
            "usual codebook count": (self.codebooks, 1, self.most_codebooks - (self.more > 0)),
            "codebook size": (self.codebook_size, 2, MAX_CODEBOOK_SIZE),
            "frame rate's numerator": (self.frame_rate.numerator, 1, MAX_RATIO),
            "frame rate's denominator": (self.frame_rate.denominator, 1, MAX_RATIO),
            "frame count of a packet": (self.packet_frames, 1, MAX_PACKET_FRAMES),
            "count of larger frames": (self.more, 0, self.packet_frames - 1),
            "code count of a packet": (self.packet_frames * self.channels * self.most_codebooks, 1, MAX_PACKET_CODES),
            "entropy coding": (self.coding, 1, MAX_CODINGS - 1),
        }
        for what, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise BitstreamError(f"its {what} of {value} is outside {low} to {high}")
        if not MODEL_NAME.fullmatch(self.model):
            raise BitstreamError(f"its model name {self.model!r} is not allowed")
        if not FINGERPRINT.fullmatch(self.fingerprint):
            raise BitstreamError(f"its fingerprint {self.fingerprint!r} is not 32 hex digits")
        if self.length is not None:
            check_length(*self.length)
        if len(metadata_bytes(self.metadata)) > MAX_METADATA_BYTES:
            raise BitstreamError(f"its metadata take more than {MAX_METADATA_BYTES} bytes")

    @property
    def version(self) -> int:
        """The format version."""
        return VERSION

    @property
    def nominal_kbps(self) -> float:
        """Bitrate of the codes of all channels as plain numbers, before entropy coding."""
        per_frame = self.codebooks + self.more / self.packet_frames
        return float(self.frame_rate) * per_frame * code_bits(self.codebook_size) * self.channels / 1000

    def to_bytes(self) -> bytes:
        """The header as it stands in the file, its check included."""
        name = self.model.encode("ascii")
        flags = LENGTH_KNOWN if self.length is not None else 0
        fields = (
            self.sample_rate,
            self.channels,
            self.codebooks,
            self.more,
            self.most_codebooks,
            self.codebook_size,
            self.frame_rate.numerator,
            self.frame_rate.denominator,
            self.packet_frames,
            *(self.length or ()),
        )
        start = MAGIC + bytes([VERSION, flags, len(name)]) + name + bytes.fromhex(self.fingerprint)
        start += b"".join(varint(value) for value in fields) + bytes([self.coding])
        if self.coding >= FIRST_WITH_TABLES:
            start += self.tables.to_bytes(4, "little")
        texts = metadata_bytes(self.metadata)
        start += varint(len(texts)) + texts
        return start + binascii.crc_hqx(start, 0).to_bytes(CHECK_BYTES, "little")


def check_length(sample_count: int, frames: int) -> None:
    """Raise BitstreamError for a length that no signal has."""
    for what, value, high in (("sample count", sample_count, MAX_SAMPLES), ("frame count", frames, MAX_FRAMES)):
        if not 0 <= value <= high:
            raise BitstreamError(f"its {what} of {value} is outside 0 to {high}")
    if (frames == 0) != (sample_count == 0):
        raise BitstreamError(f"it has {frames} frames for {sample_count} samples")


def metadata_bytes(metadata: Mapping[str, str]) -> bytes:
    """Keys, each once, in order of their bytes, and values: length and UTF-8 of each.

    Raises:
        BitstreamError: a key that is empty or longer than MAX_KEY_BYTES, or a text that is not Unicode.
    """
    try:
        pairs = sorted((key.encode("utf-8"), value.encode("utf-8")) for key, value in metadata.items())
    except UnicodeEncodeError as error:
        raise BitstreamError(f"its metadata hold a text that is not Unicode ({error.reason})") from None
    for key, _ in pairs:
        if not 1 <= len(key) <= MAX_KEY_BYTES:
            raise BitstreamError(f"its metadata key {key.decode()!r} takes {len(key)} bytes, not 1 to {MAX_KEY_BYTES}")
    return b"".join(varint(len(text)) + text for pair in pairs for text in pair)


def parse_header(data: bytes) -> tuple[Header, int]:
    """Parse the header that `data` begins with; what follows it is not looked at.

    Returns:
        The header and the number of bytes it took.

    Raises:
        NewerVersionError: the format version is above VERSION.
        BitstreamError: it is not a `.mxc` header, is cut short or damaged, or breaks a limit.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise BitstreamError("is not a .mxc file")
    fields = Fields(data, len(MAGIC))
    version = fields.byte()
    if version > VERSION:
        newest = f"this one knows versions up to {VERSION}"
        raise NewerVersionError(f"was made by a newer mixcodec (format version {version}; {newest}); upgrade mixcodec")
    if version != VERSION:
        raise BitstreamError(f"has format version {version}, of a mixcodec before its first release; encode the signal again")
    flags = fields.byte()
    name = fields.take(fields.byte())
    fingerprint = fields.take(FINGERPRINT_BYTES).hex()
    sample_rate, channels, codebooks, more, most, size, numerator, denominator, packet_frames = (
        fields.number() for _ in range(9)
    )
    length = (fields.number(), fields.number()) if flags & LENGTH_KNOWN else None
    coding = fields.byte()
    tables = int.from_bytes(fields.take(4), "little") if coding >= FIRST_WITH_TABLES else 0
    texts = fields.number()
    if texts > MAX_METADATA_BYTES:
        raise BitstreamError(f"its metadata take more than {MAX_METADATA_BYTES} bytes")
    metadata = fields.take(texts)
    end = fields.position
    if fields.take(CHECK_BYTES) != binascii.crc_hqx(data[:end], 0).to_bytes(CHECK_BYTES, "little"):
        raise BitstreamError("is damaged (the checksum of its header does not match)")
    if flags & ~LENGTH_KNOWN:
        raise BitstreamError(f"has unknown flags {flags:#x}")
    if denominator < 1 or math.gcd(numerator, denominator) != 1:
        raise BitstreamError(f"its frame rate {numerator}/{denominator} is not a fraction in lowest terms")
    header = Header(
        model=name.decode("ascii", "replace"),
        fingerprint=fingerprint,
        sample_rate=sample_rate,
        channels=channels,
        codebooks=codebooks,
        more=more,
        most_codebooks=most,
        codebook_size=size,
        frame_rate=Fraction(numerator, denominator),
        packet_frames=packet_frames,
        coding=coding,
        tables=tables,
        length=length,
        metadata=_parse_metadata(metadata),
    )
    return header, fields.position


def _parse_metadata(data: bytes) -> dict[str, str]:
    fields, found = Fields(data), {}
    try:
        while fields.position < len(data):
            key = fields.text(MAX_KEY_BYTES)
            found[key] = fields.text(MAX_METADATA_BYTES)
    except CutShortError:
        raise BitstreamError("its metadata end within a text") from None
    if metadata_bytes(found) != data:
        raise BitstreamError("its metadata are not in order, or a key stands in them twice")
    return found
