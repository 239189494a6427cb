"""Tokens: what a codec makes of a wave, and the interface that every codec of this house answers to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixcodec.arrays import as_array, integer, number, shown, whole
from mixcodec.errors import TokensError

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What a model may be called: it is looked up as a folder's name, so it holds no separator."""

FINGERPRINT = re.compile(r"[0-9a-f]{32}", re.ASCII)
"""128 bits in lower-case hex."""


ABSENT = -1
"""Stands for the codes that a frame does not have, where others have more: the first codes of a frame are always there."""


MOST = (1 << 63) - 1
"""No count is greater."""


def code_bits(codebook_size: int) -> int:
    """The bits that one code of a codebook costs: ceil(log2(size))."""
    return max(1, (codebook_size - 1).bit_length())


@dataclass(frozen=True, eq=False)
class Tokens:
    """The discrete form of one signal. `tokens[a:b]` is that of a part, see `__getitem__`.

    Numbers may be given as any type that holds a whole number (numpy's and torch's scalars, 48000.0), and codes as whatever
    `as_codes` takes; they are kept as int, float and an int64 array.

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
        codes = as_codes(self.codes)
        if codes.ndim not in (2, 3):
            raise TokensError(f"codes must be integers of shape (T, K) or (C, T, K), not {codes.dtype} {codes.shape}")
        if codes.shape[-1] < 1 or (codes.ndim == 3 and codes.shape[0] < 1):
            raise TokensError(f"codes need at least one codebook and one channel, not shape {codes.shape}")
        codebook_size = whole(self.codebook_size, "codebook_size", 2, MOST, TokensError)
        check_code_values(codes, codebook_size)
        frame_rate = number(self.frame_rate)
        if frame_rate is None or not (math.isfinite(frame_rate) and frame_rate > 0):
            raise TokensError(f"frame_rate must be a positive number of Hz, not {shown(self.frame_rate)}")
        if not isinstance(self.model, str) or not MODEL_NAME.fullmatch(self.model):
            raise TokensError(f"{shown(self.model)} is no model name; use letters, digits, '.', '_' and '-' (at most 64)")
        if not isinstance(self.fingerprint, str) or not FINGERPRINT.fullmatch(self.fingerprint):
            raise TokensError(f"{shown(self.fingerprint)} is no fingerprint; it must be 32 lower-case hex digits")
        plain = {
            "codes": codes,
            "frame_rate": frame_rate,
            "sample_count": whole(self.sample_count, "sample_count", 0, MOST, TokensError),
            "sample_rate": whole(self.sample_rate, "sample_rate", 1, MOST, TokensError),
            "codebook_size": codebook_size,
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        mine, theirs = ({**vars(tokens), "codes": None} for tokens in (self, other))
        return mine == theirs and np.array_equal(self.codes, other.codes)

    __hash__ = None  # type: ignore[assignment]
    __iter__ = None  # or Python would go through tokens[0], tokens[1], ...

    def __getitem__(self, part: slice) -> Tokens:
        """The tokens of the frames `start:stop`, which Python counts as in any sequence: ends may be negative or left open.

        The sound of a part begins where its first frame begins, `start / frame_rate` seconds into the signal, and ends
        `(frames - stop) / frame_rate` seconds before the signal does: every frame taken away takes its samples along. So a
        part is shorter than `(stop - start) / frame_rate` seconds by the codec's delay and by what the last frame was padded
        with, and one or two frames alone may hold no sample. A decoder begins anew with each part. For sound as in the whole
        signal, cut some frames more before it (128 are enough for the shipped models) and drop their sound.

        Raises:
            TokensError: `part` is no slice, or has a step or ends that are no whole numbers.
        """
        if not isinstance(part, slice):
            raise TokensError(f"tokens are cut by frames, as in tokens[10:20], not by {shown(part)}")
        ends = [None if end is None else integer(end) for end in (part.start, part.stop)]
        given = [part.start is not None, part.stop is not None]
        if [end is not None for end in ends] != given or (part.step is not None and integer(part.step) != 1):
            raise TokensError(f"tokens are cut by whole frames without a step, not by {shown(part)}")
        first, last, _ = slice(*ends).indices(self.frames)
        last = max(first, last)
        taken = math.ceil((self.frames - (last - first)) * _frame_samples(self))
        return replace(self, codes=self.codes[..., first:last, :].copy(), sample_count=max(0, self.sample_count - taken))

    @staticmethod
    def concatenate(parts: Iterable[Tokens]) -> Tokens:
        """The tokens of several signals after one another; those of the parts of a signal are those of the signal again.

        Where a part has fewer codebooks than another, its finer codes are absent. Each part but the last keeps the sound of its
        padding. Where a frame is no whole number of samples, the end may be a sample short.

        Raises:
            TokensError: there are none, or they differ in model, sample rate or channels.
        """
        every = list(parts)
        if not every or not all(isinstance(part, Tokens) for part in every):
            raise TokensError("concatenate takes a list of one Tokens or more")
        facts = [{**vars(part), "codes": part.codes.shape[:-2], "sample_count": 0} for part in every]
        if any(fact != facts[0] for fact in facts):
            raise TokensError("only tokens of the same model, sample rate and channels can be put together")
        whole_parts = [part for part in every if part.frames] or every[:1]
        most = max(part.codebooks for part in whole_parts)
        axes = ((0, 0),) * (every[0].codes.ndim - 1)
        codes = [np.pad(part.codes, (*axes, (0, most - part.codebooks)), constant_values=ABSENT) for part in whole_parts]
        # What the frames hold beyond the samples: the delay, and the padding of the last part.
        beyond = [part.frames * _frame_samples(part) - part.sample_count for part in whole_parts]
        end = beyond[-1] if whole_parts[-1].sample_count else max(beyond)
        count = math.floor(sum(part.frames for part in whole_parts) * _frame_samples(every[0]) - end)
        return replace(every[0], codes=np.concatenate(codes, axis=-2), sample_count=max(0, count))

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
        kept = integer(count)
        if kept is None or not 1 <= kept <= self.codebooks:
            raise TokensError(f"cannot keep {shown(count)} codebooks of {self.codebooks}; choose 1 to {self.codebooks}")
        return replace(self, codes=np.ascontiguousarray(self.codes[..., :kept]))


def _frame_samples(tokens: Tokens) -> Fraction:
    """The samples of a frame at the signal's own rate, which need be no whole number."""
    return tokens.sample_rate / Fraction(tokens.frame_rate).limit_denominator(1 << 20)


def as_codes(codes: Any) -> NDArray[np.int64]:
    """An array, a torch tensor or nested lists of integers of any type as int64.

    Floats are refused even where they hold whole numbers, and so are bools: codes that went through arithmetic are seldom
    meant.

    Raises:
        TokensError: other than integers, or lists of unequal lengths.
    """
    array = as_array(codes, "codes", TokensError)
    if array.dtype.kind not in "iu":
        raise TokensError(f"codes must be integers, not {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "u" and array.size and array.max() > MOST:
        raise TokensError(f"codes must lie in a codebook, and {array.max()} lies in none")
    return array.astype(np.int64, copy=False)


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

    def wave_to_tokens(self, wave: Any, sample_rate: int, kbps: float | None = None, *, codebooks: int | None = None) -> Tokens:
        """Encode a wave (*channels, N), float samples in [-1, 1] or PCM, at `sample_rate` Hz."""
        ...

    def tokens_to_wave(self, tokens: Tokens) -> Any:
        """Decode to float32 (*channels, sample_count) at the tokens' own sample rate."""
        ...

    def stream_encoder(
        self, *, channels: int | None = None, kbps: float | None = None, codebooks: int | None = None
    ) -> EncoderStream:
        """A fresh encoder for a signal that is still arriving, at the codec's own sample rate."""
        ...

    def stream_decoder(self, *, channels: int | None = None) -> DecoderStream:
        """A fresh decoder for tokens that are still arriving, at the codec's own sample rate."""
        ...
