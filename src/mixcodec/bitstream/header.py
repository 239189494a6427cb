"""The header of a `.mxc` file, version 1. The specification is docs/bitstream.md."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from mixcodec.audio import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from mixcodec.bitstream.bits import packed_bytes
from mixcodec.errors import BitstreamError, NewerVersionError
from mixcodec.tokens import MODEL_NAME, code_bits

MAGIC = b"mxc"
VERSION = 1
FINGERPRINT_BYTES = 16
CHECKSUM_BYTES = 4
MAX_HEADER_BYTES = 160
"""No valid header is longer, so nobody has to read further to parse one."""

MAX_CODEBOOKS = 64
MAX_CODEBOOK_SIZE = 1 << 16
MAX_SAMPLES = 1 << 48
MAX_FRAMES = 1 << 40
MAX_RATIO = 1 << 20


@dataclass(frozen=True)
class Header:
    """What a `.mxc` file says about itself before its codes.

    Attributes:
        model: name of the model that made it.
        fingerprint: 32 hex digits, that model's exact weights.
        sample_rate: of the original signal, Hz.
        sample_count: of the original signal, per channel.
        channels: of the original signal.
        frames: T, frames of codes per channel.
        codebooks: codes per frame.
        codebook_size: every code is below it.
        frame_rate: frames per second as an exact fraction, Hz.
    """

    model: str
    fingerprint: str
    sample_rate: int
    sample_count: int
    channels: int
    frames: int
    codebooks: int
    codebook_size: int
    frame_rate: Fraction

    def __post_init__(self) -> None:
        limits = {
            "sample rate": (self.sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
            "sample count": (self.sample_count, 0, MAX_SAMPLES),
            "channel count": (self.channels, 1, MAX_CHANNELS),
            "frame count": (self.frames, 0, MAX_FRAMES),
            "codebook count": (self.codebooks, 1, MAX_CODEBOOKS),
            "codebook size": (self.codebook_size, 2, MAX_CODEBOOK_SIZE),
            "frame rate's numerator": (self.frame_rate.numerator, 1, MAX_RATIO),
            "frame rate's denominator": (self.frame_rate.denominator, 1, MAX_RATIO),
        }
        for what, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise BitstreamError(f"its {what} of {value} is outside {low} to {high}")
        if not MODEL_NAME.fullmatch(self.model):
            raise BitstreamError(f"its model name {self.model!r} is not allowed")
        if (self.frames == 0) != (self.sample_count == 0):
            raise BitstreamError(f"it has {self.frames} frames for {self.sample_count} samples")

    @property
    def payload_bytes(self) -> int:
        """The bytes that the packed codes take."""
        return packed_bytes(self.channels * self.frames * self.codebooks, code_bits(self.codebook_size))

    @property
    def file_bytes(self) -> int:
        """The bytes of the whole file: header, packed codes and checksum."""
        return len(self.to_bytes()) + self.payload_bytes + CHECKSUM_BYTES

    @property
    def version(self) -> int:
        """The format version, of which there is one so far."""
        return VERSION

    @property
    def kbps(self) -> float:
        """Nominal bitrate of the codes of all channels, without header and checksum."""
        return float(self.frame_rate) * self.codebooks * code_bits(self.codebook_size) * self.channels / 1000

    @property
    def seconds(self) -> float:
        """Duration of the signal, s."""
        return self.sample_count / self.sample_rate

    def to_bytes(self) -> bytes:
        """The header as it stands in the file, from the magic to the last field before the codes."""
        name = self.model.encode("ascii")
        fields = (
            self.sample_rate,
            self.sample_count,
            self.channels,
            self.frames,
            self.codebooks,
            self.codebook_size,
            self.frame_rate.numerator,
            self.frame_rate.denominator,
        )
        start = MAGIC + bytes([VERSION, len(name)]) + name + bytes.fromhex(self.fingerprint)
        return start + b"".join(varint(field) for field in fields)


def varint(value: int) -> bytes:
    """An unsigned integer in 7-bit groups, least significant first; the high bit says that another one follows."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def parse_header(data: bytes) -> tuple[Header, int]:
    """Parse the header that `data` begins with; what follows it is not looked at.

    Returns:
        The header and the number of bytes it took.

    Raises:
        NewerVersionError: the format version is above VERSION.
        BitstreamError: it is not a `.mxc` header, is cut short, or breaks a limit.
    """
    if data[:3] != MAGIC:
        raise BitstreamError("is not a .mxc file")
    if len(data) < 5:
        raise BitstreamError("is cut short")
    if data[3] > VERSION:
        newest = f"this one knows versions up to {VERSION}"
        raise NewerVersionError(f"was made by a newer mixcodec (format version {data[3]}; {newest}); upgrade mixcodec")
    if data[3] != VERSION:
        raise BitstreamError(f"has an impossible format version {data[3]}")
    start = 5 + data[4]
    if len(data) < start + FINGERPRINT_BYTES:
        raise BitstreamError("is cut short")
    try:
        name = data[5:start].decode("ascii")
    except UnicodeDecodeError:
        raise BitstreamError("its model name is not allowed") from None
    fingerprint = data[start : start + FINGERPRINT_BYTES].hex()
    fields = _Fields(data, start + FINGERPRINT_BYTES)
    sample_rate, sample_count, channels, frames, codebooks, codebook_size, numerator, denominator = fields.take(8)
    if denominator < 1 or math.gcd(numerator, denominator) != 1:
        raise BitstreamError(f"its frame rate {numerator}/{denominator} is not a fraction in lowest terms")
    rate = Fraction(numerator, denominator)
    header = Header(name, fingerprint, sample_rate, sample_count, channels, frames, codebooks, codebook_size, rate)
    return header, fields.position


class _Fields:
    """The varints of a header, one after the other; each at most 7 bytes and in its shortest form."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def take(self, count: int) -> Iterator[int]:
        return iter([self._one() for _ in range(count)])

    def _one(self) -> int:
        value = 0
        for shift in range(0, 49, 7):
            if self.position >= len(self._data):
                raise BitstreamError("is cut short")
            group = self._data[self.position]
            self.position += 1
            value |= (group & 0x7F) << shift
            if group < 0x80:
                if group == 0 and shift:
                    raise BitstreamError("holds a number that is not in its shortest form")
                return value
        raise BitstreamError("holds a number that is too long")
