"""A `.mxc` file opened for reading any part of it."""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from mixcodec.audio import Wave
from mixcodec.bitstream import MxcReader
from mixcodec.bitstream.container import decoded_packets
from mixcodec.errors import BitstreamError, FileError, TokensError, UsageError
from mixcodec.files import PathLike, display_name
from mixcodec.runtime.files import checked_coding

if TYPE_CHECKING:
    from mixcodec.runtime.codec import Codec

WARM_UP_FRAMES = 128
"""So many frames before what is asked for are decoded along with it. A decoder that reaches back no further (that of speech-16k:
24 frames of convolution and 100 of attention) gives what it would give after all of the file."""


class OpenedMxc:
    """Random access to a `.mxc` file, by `Codec.open`. Only the packets that a read needs are read, each one's check tested.

    Attributes:
        header: of the file.
        sample_rate: Hz.
        sample_count: per channel.
        seconds: duration, s.
    """

    def __init__(self, codec: Codec, path: PathLike) -> None:
        name = display_name(path)
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close(); reads no more than it is asked to
        except OSError as error:
            raise FileError(f"{name}: cannot be read ({(error.strerror or str(error)).lower()}); check the name") from None
        try:
            self._codec = codec
            self._reader = MxcReader(self._file, name)
            self.header = self._reader.header
            self._coding = checked_coding(codec, self._reader)
            self._end = self._reader.end()
            try:
                codec.check_frames(self._end.frames, self._end.sample_count, self.header.sample_rate)
            except TokensError as error:
                raise BitstreamError(f"{name}: {error}") from None
        except BaseException:
            self._file.close()
            raise
        self.sample_rate = self.header.sample_rate
        self.sample_count = self._end.sample_count
        self.seconds = self.sample_count / self.sample_rate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, start: float = 0.0, stop: float | None = None) -> Wave:
        """The sound from second `start` to second `stop`, by default to the end, both cut to the signal.

        Returns:
            float32 (n,) or (C, n) at the file's sample rate.

        Raises:
            UsageError: `start` or `stop` is negative or no number, or `stop` comes first.
            BitstreamError: a packet that is needed is damaged.
        """
        stop = self.seconds if stop is None else stop
        if not 0 <= start <= stop < math.inf:
            raise UsageError(f"cannot read from second {start:g} to second {stop:g}; give 0 <= start <= stop")
        return self.read_samples(*(min(round(second * self.sample_rate), self.sample_count) for second in (start, stop)))

    def read_samples(self, start: int, stop: int) -> Wave:
        """The samples number `start` to `stop` of each channel, 0 <= start <= stop <= sample_count; see `read`."""
        if not 0 <= start <= stop <= self.sample_count:
            raise UsageError(f"cannot read samples {start} to {stop} of {self.sample_count}")
        codec, frames = self._codec, self.header.packet_frames
        if start == stop:
            return np.zeros((0,) if self.header.channels == 1 else (self.header.channels, 0), np.float32)
        ratio = codec.sample_rate / self.sample_rate
        first = self._aligned(math.floor(start * ratio) // codec.hop - WARM_UP_FRAMES)
        last = min(self._end.frames, math.ceil(stop * ratio + codec.delay) // codec.hop + 2)
        begin = first * codec.hop * self.sample_rate // codec.sample_rate  # the sample that the first frame begins with
        end_of_all = last == self._end.frames
        channels = None if self.header.channels == 1 else self.header.channels
        decoder = codec.stream_decoder(channels, self.sample_rate, self.sample_count - begin if end_of_all else None)
        parts: list[Wave] = []
        packets = self._reader.packets(first // frames, -(-last // frames))
        at = first // frames * frames
        for codes in decoded_packets(self._reader, self._coding, packets):
            piece = codes[:, max(0, first - at) : last - at]
            parts.append(decoder.push(piece[0] if channels is None else piece))
            at += codes.shape[1]
        parts.append(decoder.finish())
        wave = np.concatenate(parts, axis=-1)
        return np.ascontiguousarray(wave[..., start - begin : stop - begin])

    def _aligned(self, frame: int) -> int:
        """The last frame up to `frame` that begins on a whole sample of the file's rate."""
        step = self._codec.sample_rate // math.gcd(self._codec.hop * self.sample_rate, self._codec.sample_rate)
        return max(0, frame) // step * step
