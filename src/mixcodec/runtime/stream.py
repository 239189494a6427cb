"""A wave into codes and codes into a wave, chunk by chunk, in memory that does not grow.

Whatever the chunks, the graphs see whole frames in order with their state carried along, so the codes and samples are
those of a single call. The offline codec is nothing but these streams fed with everything at once.

    wave --resample--> hop-sized frames --encoder--> codes --decoder--> samples, first `delay` dropped --resample--> wave
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mixcodec.arrays import whole
from mixcodec.audio import Resampler, Wave, resampled_count, to_samples
from mixcodec.errors import AudioError, TokensError
from mixcodec.runtime.rate import RateKeeper
from mixcodec.runtime.session import GraphSession, State
from mixcodec.tokens import ABSENT, MOST, as_codes, check_code_values

Codes = NDArray[np.int64]

BLOCK_FRAMES = 128
"""Frames, over all channels together, in one run of a graph. With speech-16k 64 to 200 are equally fast; at 500 the
activations leave the cache (a third slower) and cost 50 MB more."""


HOLD_SECONDS = 0.02
FADE_SECONDS = 0.2
"""A gap goes on with the last sound for HOLD_SECONDS and has faded into silence after FADE_SECONDS."""


def frames_for(samples: int, hop: int, delay: int) -> int:
    """The frames that carry `samples` samples (at the codec's rate) through to the decoder's end: none for none."""
    return -(-(samples + delay) // hop) if samples else 0


class Stream:
    """A signal on its way. Where it is not resampled it can be pickled and copied, and the copy goes on where it was."""

    def __copy__(self) -> Self:
        from copy import deepcopy

        return deepcopy(self)  # what streams hold is theirs alone


class StreamEncoder(Stream):
    """Codes from a wave that is still arriving.

    Args:
        session: the encoder graph, (B, t * hop) -> (B, t, K).
        codec_rate, hop, delay: of the codec; Hz, samples, samples.
        sample_rate: of the wave, Hz; it is resampled where the codec's differs.
        channels: None for mono chunks (n,), C for chunks (C, n).
        codebooks: how many of the K codebooks to keep.
        keeper: which codes of them to keep; None for all.
    """

    def __init__(
        self,
        session: GraphSession,
        *,
        codec_rate: int,
        hop: int,
        delay: int,
        sample_rate: int,
        channels: int | None,
        codebooks: int,
        keeper: RateKeeper | None = None,
    ) -> None:
        self._session = session
        self._hop, self._delay, self._codebooks = hop, delay, codebooks
        self._keeper = keeper
        self._mono = channels is None
        self._channels = channels or 1
        self._resampler = Resampler(sample_rate, codec_rate, self._channels)
        self._state: State = session.initial_state(self._channels)
        self._waiting: Wave = np.zeros((self._channels, 0), np.float32)
        self._samples = 0  # at the codec's rate
        self._frames = 0
        self._finished = False
        self.sample_count = 0
        """Samples taken so far per channel, at the wave's own rate."""

    def push(self, chunk: NDArray[Any]) -> Codes:
        """Take the next samples, (n,) or (C, n) for any n; return the codes (*channels, t, K) of t frames, t >= 0.

        The samples are floats or PCM, see `mixcodec.audio.to_samples`. Where the stream keeps to a bitrate, the codes that it
        does not keep are ABSENT.

        Raises:
            AudioError: the wrong shape, samples that are not finite, or a stream that has been finished.
        """
        if self._finished:
            raise AudioError("this stream is finished; start a new one")
        samples = to_samples(chunk, "chunk")
        if samples.shape[:-1] != (() if self._mono else (self._channels,)):
            expected = "(n,)" if self._mono else f"({self._channels}, n)"
            turned = samples.ndim == 2 and samples.shape[1] == self._channels
            advice = "; give its transpose, chunk.T" if turned and not self._mono else ""
            raise AudioError(f"this stream takes chunks of shape {expected}, not {samples.shape}{advice}")
        return self.take(samples)

    def take(self, samples: Wave) -> Codes:
        """`push` of samples that are known to be right: `check_wave` made them, or `AudioReader`."""
        rows = np.atleast_2d(samples)
        self.sample_count += rows.shape[-1]
        return self._encode(self._resampler.push(rows))

    def finish(self) -> Codes:
        """End the signal; return the codes (*channels, t, K) of what is left, padded with silence to whole frames."""
        if self._finished:
            raise AudioError("this stream is finished; start a new one")
        self._finished = True
        tail = self._resampler.finish()
        samples = self._samples + tail.shape[-1]
        padding = frames_for(samples, self._hop, self._delay) * self._hop - samples
        return self._encode(np.pad(tail, ((0, 0), (0, max(0, padding)))))

    def _encode(self, rows: Wave) -> Codes:
        self._samples += rows.shape[-1]
        waiting = np.concatenate([self._waiting, rows], axis=1)
        block = max(1, BLOCK_FRAMES // self._channels) * self._hop
        whole = waiting.shape[1] // self._hop * self._hop
        parts: list[Codes] = [np.zeros((self._channels, 0, self._codebooks), np.int64)]
        for start in range(0, whole, block):
            piece = np.ascontiguousarray(waiting[:, start : min(start + block, whole)])
            codes, self._state = self._session.step(piece, self._state)
            parts.append(codes[..., : self._codebooks])
        self._waiting = waiting[:, whole:].copy()
        codes = np.concatenate(parts, axis=1)
        if self._keeper:
            codes = self._keeper.keep(codes)
        return codes[0] if self._mono else codes


class StreamDecoder(Stream):
    """A wave from codes that are still arriving.

    Args:
        session: the decoder graph, (B, t, k) -> (B, t * hop).
        codec_rate, hop, delay: of the codec; Hz, samples, samples.
        codebooks, codebook_size: of the codec; what codes may be.
        sample_rate: wanted of the wave, Hz; the codec's output is resampled where it differs.
        channels: None for mono codes (t, k), C for (C, t, k).
        sample_count: length of the wave per channel, if it is known: the wave is cut to it. Otherwise everything the
            codes hold comes out, which includes the encoder's padding.
    """

    def __init__(
        self,
        session: GraphSession,
        *,
        codec_rate: int,
        hop: int,
        delay: int,
        codebooks: int,
        codebook_size: int,
        sample_rate: int,
        channels: int | None,
        sample_count: int | None,
    ) -> None:
        self._session = session
        self._codebooks, self._codebook_size = codebooks, codebook_size
        self._mono = channels is None
        self._channels = channels or 1
        self._resampler = Resampler(codec_rate, sample_rate, self._channels)
        self._state: State = session.initial_state(self._channels)
        self._drop = delay
        self._inner_left = None if sample_count is None else resampled_count(sample_count, sample_rate, codec_rate)
        self._left = sample_count
        self._finished = False
        self._hop, self._rate = hop, codec_rate
        self._last: Codes | None = None
        self._gap = 0  # samples of the gap so far, at the codec's rate

    def push(self, chunk: NDArray[Any]) -> Wave:
        """Take the next codes, (t, k) or (C, t, k) for any t and 1 <= k <= K; return the samples that are certain.

        The codes are integers of any type, in an array, a torch tensor or lists.

        Frames may have fewer codes than others: see `Tokens`.

        Returns:
            float32 (*channels, n), n >= 0.

        Raises:
            TokensError: the wrong shape, no integers, codes out of range, or a stream that has been finished.
        """
        if self._finished:
            raise TokensError("this stream is finished; start a new one")
        codes = as_codes(chunk)
        rows = codes[None] if self._mono else codes
        if rows.ndim != 3 or rows.shape[0] != self._channels or not 1 <= rows.shape[2] <= self._codebooks:
            expected = f"({'' if self._mono else f'{self._channels}, '}t, k), k 1 to {self._codebooks}"
            raise TokensError(f"this stream takes codes of shape {expected}, not {codes.shape}")
        check_code_values(rows, self._codebook_size)
        parts: list[Wave] = [np.zeros((self._channels, 0), np.float32)]
        for piece in self._pieces(rows):
            wave, self._state = self._session.step(piece, self._state)
            if self._gap:
                wave = _faded_in(wave, self._hop)
                self._gap = 0
            parts.append(self._resampler.push(self._trim(wave)))
            self._last = piece[:, -1:]
        return self._cut(np.concatenate(parts, axis=1))

    def conceal(self, frames: int) -> Wave:
        """Go on for `frames` frames whose codes were lost: the last ones are repeated and fade into silence.

        Returns:
            float32 (*channels, n) like `push`.

        Raises:
            TokensError: a stream that has been finished.
        """
        if self._finished:
            raise TokensError("this stream is finished; start a new one")
        frames = whole(frames, "frames", 0, MOST, TokensError)
        parts: list[Wave] = [np.zeros((self._channels, 0), np.float32)]
        block = max(1, BLOCK_FRAMES // self._channels)
        while frames > 0:
            count = min(frames, block)
            audible = math.ceil((FADE_SECONDS * self._rate - self._gap) / self._hop)
            if self._last is not None and audible > 0:
                count = min(count, audible)
                wave, self._state = self._session.step(np.repeat(self._last, count, axis=1), self._state)
                wave = wave * _fade(self._gap, wave.shape[-1], self._rate)
            else:  # it has faded: whatever comes next begins anew
                self._last = None
                self._state = self._session.initial_state(self._channels)
                wave = np.zeros((self._channels, count * self._hop), np.float32)
            self._gap += wave.shape[-1]
            frames -= count
            parts.append(self._resampler.push(self._trim(wave)))
        return self._cut(np.concatenate(parts, axis=1))

    def _pieces(self, rows: Codes) -> Iterator[Codes]:
        """Codes in blocks that a run of the graph takes: frames with equally many codes, and not too many of them."""
        block = max(1, BLOCK_FRAMES // self._channels)
        counts = (rows[0] != ABSENT).sum(-1)
        edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), rows.shape[1]]
        for first, end in pairwise(edges):
            for start in range(first, end, block):
                yield np.ascontiguousarray(rows[:, start : min(start + block, end), : counts[first]], np.int64)

    def finish(self) -> Wave:
        """End the codes; return the samples (*channels, n) that are left.

        Raises:
            TokensError: the codes were too few for `sample_count`.
        """
        if self._finished:
            raise TokensError("this stream is finished; start a new one")
        self._finished = True
        wave = self._cut(self._resampler.finish())
        if self._left:
            raise TokensError(f"the codes end {self._left} samples before the signal does; they are not whole")
        return wave

    def _trim(self, wave: Wave) -> Wave:
        """Drop the codec's delay at the beginning and its padding at the end."""
        dropped = min(self._drop, wave.shape[-1])
        self._drop -= dropped
        wave = wave[:, dropped:]
        if self._inner_left is not None:
            wave = wave[:, : self._inner_left]
            self._inner_left -= wave.shape[-1]
        return wave

    def _cut(self, wave: Wave) -> Wave:
        if self._left is not None:
            wave = wave[:, : self._left]
            self._left -= wave.shape[-1]
        return wave[0] if self._mono else wave


def _fade(gap: int, count: int, rate: int) -> Wave:
    """(count,): the gain of the samples that come `gap` samples after the beginning of a gap."""
    seconds = (gap + np.arange(count, dtype=np.float32)) / rate
    return np.clip((FADE_SECONDS - seconds) / (FADE_SECONDS - HOLD_SECONDS), 0, 1).astype(np.float32)


def _faded_in(wave: Wave, hop: int) -> Wave:
    gain = np.minimum(np.arange(wave.shape[-1], dtype=np.float32) / hop, 1).astype(np.float32)
    return (wave * gain).astype(np.float32)
