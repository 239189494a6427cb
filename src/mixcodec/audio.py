"""Audio files in and out, and resampling.

A wave is a float32 array: mono (N,), several channels (C, N); full scale is [-1, 1]. Files are read by libsndfile (wav,
flac, ogg, mp3, opus, ...) and written as 16-bit PCM wav, both whole and in blocks, so that memory need not grow with
the length of a file. The wav header is written here because a failing write must be seen: libsndfile reports no error
from a Python file object.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from mixcodec.errors import AudioError, FileError
from mixcodec.files import PathLike, atomic_output, display_name, seekable_input

Wave = NDArray[np.float32]

MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000
MAX_CHANNELS = 255
OTHER_SUFFIXES = (".aac", ".aif", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp3", ".mxc", ".oga", ".ogg", ".opus", ".w64")


def check_sample_rate(sample_rate: int, name: str) -> None:
    """Raise AudioError for a rate (Hz) outside MIN_SAMPLE_RATE..MAX_SAMPLE_RATE."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        limits = f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        raise AudioError(f"{name}: a sample rate of {sample_rate} Hz is outside {limits}; resample it first")


def check_wave(wave: NDArray[Any], name: str = "wave") -> Wave:
    """`wave` as float32 of shape (N,) or (C, N), every sample finite.

    Raises:
        AudioError: another shape, another kind of number, too many channels, or NaN or infinity in it.
    """
    wave = np.asarray(wave)
    if wave.ndim not in (1, 2) or not np.issubdtype(wave.dtype, np.floating):
        raise AudioError(f"{name}: needs float samples of shape (N,) or (C, N), not {wave.dtype} {wave.shape}")
    if wave.ndim == 2 and not 1 <= wave.shape[0] <= MAX_CHANNELS:
        raise AudioError(f"{name}: has {wave.shape[0]} channels (shape {wave.shape}); give (C, N), C 1 to {MAX_CHANNELS}")
    wave = wave.astype(np.float32, copy=False)
    check_finite(wave, name, 0)
    return wave


def check_finite(wave: Wave, name: str, offset: int) -> None:
    """Raise AudioError at the first NaN or infinity of `wave` (*channels, N), which begins `offset` samples in."""
    finite = np.isfinite(wave)
    if not finite.all():
        position = offset + int(np.argmin(finite.reshape(-1, wave.shape[-1]).all(axis=0)))
        raise AudioError(f"{name}: sample {position} is NaN or infinite; repair the file before coding it")


class AudioReader:
    """An open audio file, to be read block by block; use it in a `with`.

    Attributes:
        name: what messages call the file.
        sample_rate: Hz.
        channels: how many.
        sample_count: samples per channel as the file declares them (an estimate for some compressed formats).

    Raises:
        FileError, AudioError: not there, a directory, empty, not audio, damaged, or not finite.
    """

    def __init__(self, path: PathLike) -> None:
        import soundfile

        from mixcodec.sequential import SequentialSoundFile

        self.name = display_name(path)
        self._stack = ExitStack()
        try:
            file = self._stack.enter_context(seekable_input(path))
            if not os.fstat(file.fileno()).st_size:
                raise AudioError(f"{self.name}: is empty (0 bytes); give an audio file")
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            try:
                self._sound = self._stack.enter_context(SequentialSoundFile(file.fileno(), "r", closefd=False))
            except (soundfile.SoundFileError, TypeError, ValueError, OSError):
                formats = "wav, flac, ogg, mp3 and opus are"
                raise AudioError(f"{self.name}: is not audio that can be read; {formats}") from None
            self.sample_rate = int(self._sound.samplerate)
            self.channels = int(self._sound.channels)
            self.sample_count = int(self._sound.frames)
            check_sample_rate(self.sample_rate, self.name)
            if self.channels > MAX_CHANNELS:
                raise AudioError(f"{self.name}: has {self.channels} channels; at most {MAX_CHANNELS} can be coded")
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def blocks(self, samples: int | None = None) -> Iterator[Wave]:
        """Yield the rest of the file in blocks (*channels, at most `samples`), by default of about 1 MB."""
        import soundfile

        samples = samples or max(4096, (1 << 18) // self.channels)
        done = 0
        while True:
            try:
                block = self._sound.read(samples, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, OSError) as error:
                raise AudioError(f"{self.name}: is damaged after {done} samples ({error}); repair it first") from None
            if not len(block):
                return
            wave: Wave = block[:, 0] if self.channels == 1 else np.ascontiguousarray(block.T)
            check_finite(wave, self.name, done)
            done += len(block)
            yield wave


class AudioWriter:
    """A 16-bit PCM wav of known length, written block by block into an open binary file.

    Samples beyond full scale are clipped; nothing wraps around. Beyond 4 GB the header is that of RF64.
    """

    def __init__(self, file: BinaryIO, sample_rate: int, channels: int, sample_count: int) -> None:
        self._file = file
        self._channels = channels
        self._left = sample_count
        file.write(wav_header(sample_rate, channels, sample_count))

    def write(self, wave: Wave) -> None:
        """Append a block (*channels, n) of finite samples."""
        rows = wave.reshape(self._channels, -1)
        self._left -= rows.shape[1]
        scaled = np.clip(np.rint(rows.T * np.float32(32768)), -32768, 32767)
        self._file.write(scaled.astype("<i2").tobytes())

    def finish(self) -> None:
        """Declare the end. Fewer or more samples than promised is a bug, not a user's mistake."""
        if self._left:
            raise RuntimeError(f"the wav was promised {self._left} more samples per channel")


def wav_header(sample_rate: int, channels: int, sample_count: int) -> bytes:
    """The header of a 16-bit PCM wav: RIFF (44 bytes), or RF64 (80 bytes, EBU Tech 3306) when RIFF cannot hold it."""
    frame_bytes = 2 * channels
    data_bytes = frame_bytes * sample_count
    layout = struct.pack("<HHIIHH", 1, channels, sample_rate, sample_rate * frame_bytes, frame_bytes, 16)
    form = b"fmt " + struct.pack("<I", len(layout)) + layout
    if data_bytes + 36 <= 0xFFFFFFFF:
        return b"RIFF" + struct.pack("<I", data_bytes + 36) + b"WAVE" + form + b"data" + struct.pack("<I", data_bytes)
    sizes = b"ds64" + struct.pack("<IQQQI", 28, data_bytes + 72, data_bytes, sample_count, 0)
    unknown = b"\xff\xff\xff\xff"
    return b"RF64" + unknown + b"WAVE" + sizes + form + b"data" + unknown


def check_audio_target(path: PathLike) -> None:
    """Raise FileError where the name of a target promises something that is not wav."""
    name = os.fspath(path)
    if name.lower().endswith(OTHER_SUFFIXES):
        raise FileError(f"{name}: only wav can be written; name the output .wav")


def read_audio(path: PathLike) -> tuple[Wave, int]:
    """Read a whole audio file (``-`` is standard input).

    Returns:
        The wave, float32 (N,) or (C, N), and its sample rate in Hz. A file of no samples is a wave of length 0.

    Raises:
        FileError, AudioError: not there, a directory, empty, not audio, damaged, or not finite.
    """
    with AudioReader(path) as reader:
        blocks = list(reader.blocks())
        if not blocks:
            return np.zeros((0,) if reader.channels == 1 else (reader.channels, 0), np.float32), reader.sample_rate
        return np.concatenate(blocks, axis=-1), reader.sample_rate


def write_audio(path: PathLike, wave: NDArray[Any], sample_rate: int) -> None:
    """Write a wave (N,) or (C, N) as 16-bit PCM wav (``-`` is standard output), clipped to full scale.

    Raises:
        AudioError: the wave has the wrong shape or samples that are not finite.
        FileError: the target cannot be written, or its name is that of another format.
    """
    wave = check_wave(wave)
    check_sample_rate(sample_rate, "wave")
    check_audio_target(path)
    channels = 1 if wave.ndim == 1 else wave.shape[0]
    with atomic_output(path) as file:
        writer = AudioWriter(file, sample_rate, channels, wave.shape[-1])
        writer.write(wave)
        writer.finish()


def resampled_count(sample_count: int, source_rate: int, target_rate: int) -> int:
    """How many samples `sample_count` samples become: ceil(count * target / source)."""
    return -(-sample_count * target_rate // source_rate)


class Resampler:
    """A signal on its way from one sample rate to another, chunk by chunk (soxr, quality HQ).

    The chunks that come out, put together, do not depend on how the chunks that go in were cut, and their total
    length is `resampled_count` of what went in.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._rates = (source_rate, target_rate)
        self._channels = channels
        self._taken = 0
        self._given = 0
        self._stream: Any = None
        if source_rate != target_rate:
            import soxr

            self._stream = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")

    def push(self, wave: Wave) -> Wave:
        """Take a chunk (C, n) and return the samples (C, m) that are now certain."""
        if self._stream is None or not wave.shape[-1]:
            return wave
        self._taken += wave.shape[-1]
        return self._cut(self._stream.resample_chunk(np.ascontiguousarray(wave.T)).T)

    def finish(self) -> Wave:
        """The samples (C, m) that are left."""
        if self._stream is None or not self._taken:
            return np.zeros((self._channels, 0), np.float32)
        rest = self._cut(self._stream.resample_chunk(np.zeros((0, self._channels), np.float32), last=True).T)
        missing = resampled_count(self._taken, *self._rates) - self._given
        return np.pad(rest, ((0, 0), (0, missing)))

    def _cut(self, wave: Wave) -> Wave:
        wave = wave[:, : resampled_count(self._taken, *self._rates) - self._given]
        self._given += wave.shape[-1]
        return wave


def resample(wave: Wave, source_rate: int, target_rate: int) -> Wave:
    """Resample a wave, (N,) or (C, N), to (M,) or (C, M) with M = resampled_count(N)."""
    rows = np.atleast_2d(wave)
    resampler = Resampler(source_rate, target_rate, rows.shape[0])
    out = np.concatenate([resampler.push(rows), resampler.finish()], axis=-1)
    return out[0] if wave.ndim == 1 else out
