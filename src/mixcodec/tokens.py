"""Tokens: what a codec makes of a wave, and the interface that every codec of this house answers to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixcodec.errors import TokensError

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What a model may be called: it is looked up as a folder's name, so it holds no separator."""

FINGERPRINT = re.compile(r"[0-9a-f]{32}", re.ASCII)
"""128 bits in lower-case hex."""


ABSENT = -1
"""Stands for the codes that a frame does not have, where others have more: the first codes of a frame are always there."""


def code_bits(codebook_size: int) -> int:
    """The bits that one code of a codebook costs: ceil(log2(size))."""
    return max(1, (codebook_size - 1).bit_length())


@dataclass(frozen=True, eq=False)
class Tokens:
    """The discrete form of one signal.

    Attributes:
        codes: integers in [0, codebook_size), shape (T, K) for mono or (C, T, K): T frames of K codebooks. A frame may have
            fewer codes than K, in all channels alike: the places of the finer ones hold ABSENT.
        frame_rate: frames per second, Hz.
        sample_count: length of the signal in samples at its own `sample_rate` (per channel).
        sample_rate: the signal's own rate, Hz (the codec may work at another).
        codebook_size: how many codes a codebook holds.
        model: name of the model that made them.
        fingerprint: 128 bits in hex that name that model's exact weights.

    Raises:
        TokensError: a value contradicts the above.
    """

    codes: NDArray[np.int64]
    frame_rate: float
    sample_count: int
    sample_rate: int
    codebook_size: int
    model: str
    fingerprint: str

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes)
        if codes.ndim not in (2, 3) or not np.issubdtype(codes.dtype, np.integer):
            raise TokensError(f"codes must be integers of shape (T, K) or (C, T, K), not {codes.dtype} {codes.shape}")
        if codes.shape[-1] < 1 or (codes.ndim == 3 and codes.shape[0] < 1):
            raise TokensError(f"codes need at least one codebook and one channel, not shape {codes.shape}")
        if self.codebook_size < 2:
            raise TokensError(f"codebook_size must be at least 2, not {self.codebook_size}")
        check_code_values(codes, self.codebook_size)
        if self.sample_count < 0 or self.sample_rate < 1:
            raise TokensError(f"impossible length or rate: {self.sample_count} samples at {self.sample_rate} Hz")
        if not (math.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise TokensError(f"frame_rate must be a positive number of Hz, not {self.frame_rate}")
        if not MODEL_NAME.fullmatch(self.model):
            raise TokensError(f"{self.model!r} is no model name; use letters, digits, '.', '_' and '-' (at most 64)")
        if not FINGERPRINT.fullmatch(self.fingerprint):
            raise TokensError(f"{self.fingerprint!r} is no fingerprint; it must be 32 lower-case hex digits")
        if codes.dtype != np.int64:
            object.__setattr__(self, "codes", codes.astype(np.int64))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        mine, theirs = ({**vars(tokens), "codes": None} for tokens in (self, other))
        return mine == theirs and np.array_equal(self.codes, other.codes)

    __hash__ = None  # type: ignore[assignment]

    @property
    def channels(self) -> int:
        """How many channels the signal has (1 for codes of shape (T, K))."""
        return int(self.codes.shape[0]) if self.codes.ndim == 3 else 1

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return int(self.codes.shape[-2])

    @property
    def codebooks(self) -> int:
        """K, the number of codebooks used."""
        return int(self.codes.shape[-1])

    @property
    def seconds(self) -> float:
        """Duration of the signal, s."""
        return self.sample_count / self.sample_rate

    @property
    def kbps(self) -> float:
        """Nominal bitrate of all channels together, kbps: frame rate x codes of a frame x bits, without header and padding."""
        there = float((self.codes != ABSENT).mean()) if self.codes.size else 1.0
        return self.frame_rate * self.codebooks * there * code_bits(self.codebook_size) * self.channels / 1000

    def with_codebooks(self, count: int) -> Tokens:
        """The same signal at a lower rate: the first `count` codebooks alone.

        Raises:
            TokensError: `count` is not in 1..codebooks.
        """
        if not 1 <= count <= self.codebooks:
            raise TokensError(f"cannot keep {count} codebooks of {self.codebooks}; choose 1 to {self.codebooks}")
        return replace(self, codes=np.ascontiguousarray(self.codes[..., :count]))


def check_code_values(codes: NDArray[Any], size: int) -> None:
    """Raise TokensError unless codes (*channels, t, k) lie in [0, size), but for ABSENT at the end of frames."""
    if not codes.size or (codes.min() >= 0 and codes.max() < size):
        return
    if codes.min() < ABSENT or codes.max() >= size:
        raise TokensError(f"codes must lie in 0..{size - 1}, not {codes.min()}..{codes.max()}")
    there = codes.reshape(-1, *codes.shape[-2:]) != ABSENT
    counts = there[0].sum(-1)
    expected = np.arange(codes.shape[-1]) < counts[:, None]
    if (counts < 1).any() or not np.array_equal(there, np.broadcast_to(expected, there.shape)):
        raise TokensError(f"codes may be absent ({ABSENT}) only at the end of a frame, in all channels alike")


class EncoderStream(Protocol):
    """A wave on its way into codes, chunk by chunk."""

    def push(self, chunk: Any) -> Any:
        """Take samples (*channels, n), any n; return the codes (*channels, t, K) of the frames now complete."""
        ...

    def finish(self) -> Any:
        """The codes (*channels, t, K) of what is left, once the signal has ended."""
        ...


class DecoderStream(Protocol):
    """Codes on their way into a wave, chunk by chunk."""

    def push(self, chunk: Any) -> Any:
        """Take codes (*channels, t, k), any t; return the samples (*channels, n) that are now certain."""
        ...

    def finish(self) -> Any:
        """The samples (*channels, n) that are left, once the codes have ended."""
        ...


class TokenCodec(Protocol):
    """What the torch codec and the runtime codec have in common."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def hop(self) -> int: ...
    @property
    def delay(self) -> int: ...
    @property
    def codebooks(self) -> int: ...
    @property
    def codebook_size(self) -> int: ...

    def wave_to_tokens(self, wave: Any, sample_rate: int, kbps: float | None = None) -> Tokens:
        """Encode a wave (*channels, N) of float samples in [-1, 1] at `sample_rate` Hz."""
        ...

    def tokens_to_wave(self, tokens: Tokens) -> Any:
        """Decode to float32 (*channels, sample_count) at the tokens' own sample rate."""
        ...

    def stream_encoder(self, channels: int | None = None, kbps: float | None = None) -> EncoderStream:
        """A fresh encoder for a signal that is still arriving, at the codec's own sample rate."""
        ...

    def stream_decoder(self, channels: int | None = None) -> DecoderStream:
        """A fresh decoder for tokens that are still arriving, at the codec's own sample rate."""
        ...
