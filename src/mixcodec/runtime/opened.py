"""A `.mxc` file opened for reading any part of it."""

from __future__ import annotations

import math
import os
import stat
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import numpy as np

from mixcodec.arrays import number, shown, whole
from mixcodec.audio import Wave
from mixcodec.bitstream import Header, MxcReader
from mixcodec.bitstream.container import decoded_packets
from mixcodec.bitstream.reader import TAIL_BYTES
from mixcodec.errors import BitstreamError, FileError, TokensError, UsageError
from mixcodec.files import PathLike, display_name
from mixcodec.runtime.files import checked_coding

if TYPE_CHECKING:
    from mixcodec.runtime.codec import Codec

WARM_UP_FRAMES = 128
"""So many frames before what is asked for are decoded along with it. A decoder that reaches back no further (that of speech-16k:
24 frames of convolution and 100 of attention) gives what it would give after all of the file."""


class SharedFile:
    """A regular file, open for reading, in which every thread and every forked process has a position of its own.

    Args:
        path: its name.
        name: what messages call it.

    Raises:
        FileError: it cannot be opened, or is no regular file; from `read`, where the disk cannot be read, or it was closed.
    """

    def __init__(self, path: PathLike, name: str) -> None:
        self._name = name
        try:
            mode = os.stat(path).st_mode  # before it is opened, since a pipe would wait for a writer
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise FileError(f"{name}: is no file that can be read from any place; decode it, or copy it to one")
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise FileError(f"{name}: cannot be read ({reason}); check the name") from None
        self._here = threading.local()
        self._lock = threading.Lock()  # where there is no pread, and no fork either

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Move this thread's position; see `io.IOBase.seek`."""
        base = 0 if whence == os.SEEK_SET else self._at() if whence == os.SEEK_CUR else os.fstat(self._open()).st_size
        self._here.position = base + position
        return self._at()

    def read(self, count: int) -> bytes:
        """At most `count` bytes from this thread's position on, and fewer only at the end of the file."""
        parts = []
        try:
            while count > 0 and (part := self._read(self._open(), count)):
                parts.append(part)
                count -= len(part)
                self._here.position = self._at() + len(part)
        except OSError as error:
            raise FileError(f"{self._name}: cannot be read ({(error.strerror or str(error)).lower()})") from None
        return b"".join(parts)

    def close(self) -> None:
        """Close the file, for all threads of this process."""
        self._file.close()

    def _at(self) -> int:
        return int(getattr(self._here, "position", 0))

    def _open(self) -> int:
        if self._file.closed:
            raise FileError(f"{self._name}: has been closed; open it again")
        return self._file.fileno()

    def _read(self, descriptor: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(descriptor, count, self._at())
        with self._lock:
            os.lseek(descriptor, self._at(), os.SEEK_SET)
            return os.read(descriptor, count)


class OpenedMxc:
    """Random access to a `.mxc` file, by `Codec.open`. Only the packets that a read needs are read, each one's check tested.

    Any number of threads and forked processes may read from it at once. Pickled, for a worker say, it is opened anew by its
    path there, and must be the same file.

    Attributes:
        header: of the file.
        sample_rate: Hz.
        sample_count: per channel.
        seconds: duration, s.
    """

    def __init__(self, codec: Codec, path: PathLike) -> None:
        name = display_name(path)
        self._path = os.path.abspath(path)
        self._file = SharedFile(path, name)
        try:
            self._codec = codec
            self._reader = MxcReader(cast(BinaryIO, self._file), name)
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

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._codec, self._path, self._reader.name, self.header, self._mark())

    def _mark(self) -> bytes:
        """What tells the file from another: its size and the checksum of all of it."""
        size = self._reader.file_bytes
        return size.to_bytes(8, "little") + self._reader.at(size - TAIL_BYTES, TAIL_BYTES)

    def read(self, start: float = 0.0, stop: float | None = None) -> Wave:
        """The sound from second `start` to second `stop`, by default to the end, both cut to the signal.

        Returns:
            float32 (n,) or (C, n) at the file's sample rate.

        Raises:
            UsageError: `start` or `stop` is negative or no number, or `stop` comes first.
            BitstreamError: a packet that is needed is damaged.
        """
        first, last = number(start), self.seconds if stop is None else number(stop)
        if first is None or last is None or not 0 <= first <= last < math.inf:
            raise UsageError(f"cannot read from second {shown(start)} to second {shown(stop)}; give 0 <= start <= stop")
        return self.read_samples(*(min(round(second * self.sample_rate), self.sample_count) for second in (first, last)))

    def read_samples(self, start: int, stop: int) -> Wave:
        """The samples number `start` to `stop` of each channel, 0 <= start <= stop <= sample_count; see `read`."""
        start, stop = (whole(at, "a sample number", 0, self.sample_count, UsageError) for at in (start, stop))
        if start > stop:
            raise UsageError(f"cannot read samples {start} to {stop} of {self.sample_count}; give start <= stop")
        codec, frames = self._codec, self.header.packet_frames
        if start == stop:
            return np.zeros((0,) if self.header.channels == 1 else (self.header.channels, 0), np.float32)
        ratio = codec.sample_rate / self.sample_rate
        first = self._aligned(math.floor(start * ratio) // codec.hop - WARM_UP_FRAMES)
        last = min(self._end.frames, math.ceil(stop * ratio + codec.delay) // codec.hop + 2)
        begin = first * codec.hop * self.sample_rate // codec.sample_rate  # the sample that the first frame begins with
        end_of_all = last == self._end.frames
        channels = None if self.header.channels == 1 else self.header.channels
        left = self.sample_count - begin if end_of_all else None
        decoder = codec.stream_decoder(channels=channels, sample_rate=self.sample_rate, sample_count=left)
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


def _reopened(codec: Codec, path: str, name: str, header: Header, mark: bytes) -> OpenedMxc:
    """What pickle makes of an OpenedMxc. Raises FileError where the file is gone, or another one is there."""
    changed = FileError(f"{name}: has changed since it was opened; open it again")
    try:
        again = codec.open(path)
    except BitstreamError:
        raise changed from None
    if again.header != header or again._mark() != mark:
        again.close()
        raise changed
    return again
