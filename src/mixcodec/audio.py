"""Audio files in and out, and resampling.

A wave is a float32 array: mono (N,), several channels (C, N); full scale is [-1, 1]. Samples somewhat beyond it are coded as they
are, and clipped where they are written; files with samples far beyond it hold integers that somebody called floats, and are
refused.
Files are read by libsndfile (wav, flac, ogg, mp3, opus, ...), and where that cannot, by ffmpeg if it is installed. They are
written as 16-bit PCM wav. Both go whole and in blocks, so that memory need not grow with the length of a file. The wav header
is written here because a failing write must be seen: libsndfile reports no error from a Python file object.
"""

from __future__ import annotations

import os
import shlex
import struct
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from mixcodec.arrays import as_array, integer, shown, whole
from mixcodec.contents import Contents, SilentWindow
from mixcodec.errors import AudioError, AudioWarning, FileError, MixcodecWarning, NotCopyableError
from mixcodec.files import Source, Target, atomic_output, display_name, seekable_input

if TYPE_CHECKING:
    from mixcodec.formats import Part

Wave = NDArray[np.float32]

MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000
MAX_CHANNELS = 255
MANY_ROWS = 8
"""Signals of more channels are rare, so that more rows than these, each shorter than a column, are taken for samples."""
LOUDEST = 8.0
"""Float samples beyond so many times full scale (18 dB) are taken for integers that nobody scaled, and warned of."""
UNSCALED = 128.0
"""In a file, float samples beyond so many times full scale (42 dB) are refused: clipped, they would be noise."""
ENDLESS = 1 << 62
"""So many samples or more are libsndfile's way to say that it does not know."""
FLOATS = ("FLOAT", "DOUBLE")
PCM = {"i2": (0.0, 1 << 15), "i4": (0.0, 1 << 31), "u1": (128.0, 1 << 7)}
"""Integers that are samples, by kind and bytes: where zero is, and full scale."""
OTHER_SUFFIXES = (".aac", ".aif", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp3", ".mxc", ".oga", ".ogg", ".opus", ".w64")


def check_sample_rate(sample_rate: Any, name: str) -> int:
    """`sample_rate` as an int: a whole number of Hz of any type, in MIN_SAMPLE_RATE..MAX_SAMPLE_RATE. Raises AudioError."""
    rate = integer(sample_rate)
    if rate is None:
        raise AudioError(f"{name}: a sample rate must be a whole number of Hz, not {shown(sample_rate)}")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        limits = f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        raise AudioError(f"{name}: a sample rate of {shown(rate)} Hz is outside {limits}; resample it first")
    return rate


def check_channels(channels: Any) -> int | None:
    """`channels` as an int, or None for a signal without an axis of channels. Raises AudioError."""
    return None if channels is None else whole(channels, "channels", 1, MAX_CHANNELS, AudioError)


def check_wave(wave: Any, name: str = "wave") -> Wave:
    """`wave` as float32 samples of shape (N,) or (C, N); see `to_samples`.

    (N, C), as some libraries have it, is recognised where there are more than MANY_ROWS rows, each shorter than a column. Up
    to MANY_ROWS rows are always taken for channels, however short: (2, 1) is one sample of stereo.

    Raises:
        AudioError: another shape or kind of number, too many channels, or NaN or infinity in it.
    """
    samples = to_samples(wave, name)
    if samples.ndim == 2:
        rows, columns = samples.shape
        if rows > MANY_ROWS and 0 < columns < rows:
            turned = f"give its transpose, {name}.T, of shape ({columns}, {rows})"
            raise AudioError(f"{name}: shape {samples.shape} looks like (N, C): {turned}")
        if not 1 <= rows <= MAX_CHANNELS:
            raise AudioError(f"{name}: has {rows} channels (shape {samples.shape}); give (C, N), C 1 to {MAX_CHANNELS}")
    return samples


def to_samples(wave: Any, name: str = "wave") -> Wave:
    """An array, a torch tensor or lists of samples as float32 of full scale 1, of one or two axes, every sample finite.

    Floats are taken as they are. 16-bit, 32-bit and unsigned 8-bit integers are PCM, as wav files hold it, and are divided
    by their full scale: the samples are those that `read_audio` gives of such a file. Floats beyond LOUDEST are taken as
    they are too, with a MixcodecWarning: they are hardly samples of full scale 1.

    Raises:
        AudioError: other numbers, other shapes, or NaN or infinity among them.
    """
    array = as_array(wave, name, AudioError)
    if array.ndim not in (1, 2):
        batch = "; give the waves of a batch one by one, or to encode_batch as a list" if array.ndim > 2 else ""
        raise AudioError(f"{name}: needs samples of shape (N,) or (C, N), not {array.dtype} {array.shape}{batch}")
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind in PCM:
        middle, scale = PCM[kind]
        return (array.astype(np.float32) - np.float32(middle)) * np.float32(1 / scale)
    if array.dtype.kind != "f":
        pcm = "int16, int32 or uint8 PCM"
        raise AudioError(f"{name}: needs floats of full scale 1, or {pcm}, not {array.dtype} of shape {array.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told as such
        samples: Wave = array.astype(np.float32, copy=False)
    if check_finite(samples, name, 0) > LOUDEST:
        _warn_of_integers(name)
    return samples


def _warn_of_integers(name: str) -> None:
    advice = "full scale is 1: divide 16-bit samples by 32768, or give them as int16"
    warnings.warn(f"{name}: float samples beyond {LOUDEST:g} times full scale; {advice}", MixcodecWarning, stacklevel=4)


def check_finite(wave: Wave, name: str, offset: int) -> float:
    """The largest magnitude in `wave` (*channels, N), which begins `offset` samples in.

    Raises:
        NotFiniteError: a sample is NaN or infinite.
    """
    if not wave.size:
        return 0.0
    peak = float(np.maximum(wave.max(), -wave.min()))
    if not np.isfinite(peak):
        place = offset + int(np.argmin(np.isfinite(wave).reshape(-1, wave.shape[-1]).all(axis=0)))
        raise NotFiniteError(f"{name}: sample {place} is NaN or infinite; repair the file before coding it")
    return peak


class NotFiniteError(AudioError):
    """Samples that are NaN or infinite."""


class AudioReader:
    """An open audio file, to be read block by block; use it in a `with`.

    What is read is compared with what the file declares. Files that are joined are read one after another, and wavs whose size
    was never filled in are read to their end. Sound that is missing at the end, or bytes behind it that are no chunk or tag, make
    an AudioWarning when `blocks` is through; sound that is missing in the middle makes an AudioError. Samples of float files are
    clipped to full scale, and the warning says how many. Those of mp3, Vorbis and Opus, whose decoders overshoot, stay what they
    are.

    Args:
        source: a path, ``-`` (standard input), the bytes of a file, or an open binary file.
        quick: to learn the length alone, without what takes reading all of a file (`mixcodec.formats.survey`).

    Attributes:
        name: what messages call the file.
        sample_rate: Hz.
        channels: how many.
        sample_count: samples per channel, as far as the file tells without being read.
        sure: whether it tells; not, for example, a flac that was written to a pipe.

    Raises:
        FileError, AudioError: not there, a directory, empty, not audio, damaged, made of files that are not alike, not finite, or
            far beyond full scale.
    """

    def __init__(self, source: Source, *, quick: bool = False) -> None:
        from mixcodec.formats import Damage, survey

        self.name = display_name(source)
        self._stack = ExitStack()
        try:
            self._file = self._stack.enter_context(seekable_input(source))
            self._contents = Contents(self._file, own=True)
            if not self._contents.size:
                raise AudioError(f"{self.name}: is empty (0 bytes); give an audio file")
            try:
                found = survey(self._contents, quick)
            except Damage as damage:
                raise AudioError(f"{self.name}: {damage}; {self._rescue()}") from None
            self._parts, self._notes = found.parts, found.notes
            self._at = self._begun = self._done = self._clipped = 0  # part, samples of it, samples in all, of those clipped
            self._sound = self._stack.enter_context(self._open(self._parts[0]))
            self.sample_rate = int(self._sound.samplerate)
            self.channels = int(self._sound.channels)
            check_sample_rate(self.sample_rate, self.name)
            if self.channels > MAX_CHANNELS:
                raise AudioError(f"{self.name}: has {self.channels} channels; at most {MAX_CHANNELS} can be coded")
            counts = [_expected(self._parts[0], self._sound)]
            for part in self._parts[1:]:
                with self._open(part) as sound:
                    self._check_alike(sound)
                    counts.append(_expected(part, sound))
            self.sure = None not in counts
            self.sample_count = sum(count or 0 for count in counts)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def blocks(self, samples: int | None = None) -> Iterator[Wave]:
        """Yield the rest of the file in blocks (*channels, `samples`), by default of about 1 MB; the last one may be shorter."""
        samples = samples or max(4096, (1 << 18) // self.channels)
        while len(block := self._next(samples)):
            wave: Wave = block[:, 0] if self.channels == 1 else np.ascontiguousarray(block.T)
            peak = check_finite(wave, self.name, self._done)
            if peak > UNSCALED:
                advice = "full scale is -1 to 1: divide integers by theirs first (of 16 bits, 32768)"
                raise AudioError(f"{self.name}: has samples of the size {peak:g}, but {advice}")
            if peak > 1 and self._sound.subtype in FLOATS:
                self._clipped += int(np.count_nonzero(np.abs(wave) > 1))
                wave = np.clip(wave, -1, 1)
            self._done += len(block)
            yield wave
        if self._clipped:
            count = f"{self._clipped} of {self._done * self.channels} samples"
            self._notes.append(f"{count} were beyond full scale and are clipped")
        if self._notes:
            warnings.warn(f"{self.name}: {'; '.join(self._notes)}", AudioWarning, stacklevel=2)
        self._clipped, self._notes = 0, []

    def _next(self, samples: int) -> NDArray[np.float32]:
        """The next samples (n, channels), from as many parts as it takes; fewer only at the end."""
        pieces: list[NDArray[np.float32]] = []
        while samples and self._at < len(self._parts):
            block = self._read(samples)
            samples -= len(block)
            self._begun += len(block)
            pieces.append(block)
            if not len(block):
                self._go_on()
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.zeros((0, self.channels), np.float32)])

    def _go_on(self) -> None:
        """Leave a part that is at its end, and begin the next one."""
        self._compare(self._parts[self._at], self._begun)
        self._at += 1
        self._begun = 0
        if self._at < len(self._parts):
            self._sound.close()
            self._sound = self._stack.enter_context(self._open(self._parts[self._at]))

    def _open(self, part: Part) -> Any:
        """A part of the file as a soundfile.SoundFile, or what can be read like one."""
        sound = self._opened(part)
        if part.instead and int(sound.frames) < (part.samples or 0):
            sound.close()
            sound = self._opened(part.instead)
        return sound

    def _opened(self, part: Part) -> Any:
        import soundfile

        from mixcodec.sequential import SequentialSoundFile

        whole = (part.start, part.stop) == (0, self._contents.size) and not (part.head or part.patches)
        handle = self._contents.descriptor if whole else None
        window = SilentWindow(self._contents, part.start, part.stop, part.head, part.patches)
        try:
            if handle is None:
                return SequentialSoundFile(window, "r")
            os.lseek(handle, 0, os.SEEK_SET)
            return SequentialSoundFile(handle, "r", closefd=False)
        except (soundfile.SoundFileError, TypeError, ValueError, OSError):
            if window.failure:
                raise self._unreadable(window.failure) from None
        return self._through_ffmpeg()

    def _through_ffmpeg(self) -> Any:
        """The file as ffmpeg reads it; libsndfile does not."""
        from mixcodec.ffmpeg import FfmpegError, FfmpegSound, is_installed

        formats = f"{self.name}: is not audio that can be read; wav, flac, ogg, mp3 and opus are"
        if len(self._parts) > 1:
            raise AudioError(f"{formats}, but not {len(self._parts)} files in one of which one is not; split it")
        if not is_installed():
            command = shlex.join(["ffmpeg", "-i", self.name, f"{os.path.splitext(self.name)[0]}.wav"])
            raise AudioError(f"{formats}, and others where ffmpeg is installed; or convert it: {command}")
        try:
            return FfmpegSound(self._file)
        except FfmpegError as error:
            raise AudioError(f"{formats}, and what ffmpeg reads ({error})") from None

    def _read(self, samples: int) -> NDArray[np.float32]:
        import soundfile

        sound, failure = self._sound, None
        try:
            block: NDArray[np.float32] = sound.read(samples, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            failure = getattr(sound.name, "failure", None)
            if not failure:
                raise AudioError(f"{self.name}: is damaged after {self._done} samples ({error}); {self._rescue()}") from None
        if failure := failure or getattr(sound.name, "failure", None):
            raise self._unreadable(failure)
        return block

    def _unreadable(self, failure: BaseException) -> BaseException:
        """What reading the file has failed with, which libsndfile did not pass on."""
        if isinstance(failure, OSError):
            return AudioError(f"{self.name}: cannot be read ({(failure.strerror or str(failure)).lower()})")
        return failure

    def _check_alike(self, sound: Any) -> None:
        """Raise AudioError where a further part does not go on as the first began."""
        rate, channels = int(sound.samplerate), int(sound.channels)
        if (rate, channels) != (self.sample_rate, self.channels):
            first = f"{self.sample_rate} Hz and {self.channels} channel(s)"
            raise AudioError(
                f"{self.name}: is made of several files, one of {first}, another of {rate} Hz and {channels} channel(s); split it"
            )

    def _compare(self, part: Part, count: int) -> None:
        """Note where fewer samples came than the file declares; and what ffmpeg had to say."""
        wanted = _expected(part, self._sound) if part.declared is None else part.declared
        if wanted is not None and count < wanted - part.slack:
            missing = (wanted - count) / self.sample_rate
            self._notes.append(f"declares {wanted} samples, but holds {count}: {missing:.2f} s are missing at the end")
        if said := getattr(self._sound, "said", ""):
            self._notes.append(f"ffmpeg says of it: {said}")

    def _rescue(self) -> str:
        stem = os.path.splitext(self.name)[0]
        return f"repair it first; what is left of it: {shlex.join(['ffmpeg', '-i', self.name, f'{stem}.repaired.wav'])}"


def _expected(part: Part, sound: Any) -> int | None:
    """How many samples a part should come to; None where nothing says."""
    count = int(sound.frames) if part.samples is None else part.samples
    return count if 0 <= count < ENDLESS else None


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


def check_audio_target(path: Target) -> None:
    """Raise FileError where the name of a target promises something that is not wav."""
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    if name.lower().endswith(OTHER_SUFFIXES):
        raise FileError(f"{name}: only wav can be written; name the output .wav")


def read_audio(source: Source) -> tuple[Wave, int]:
    """Read a whole audio file.

    Args:
        source: its path (``-`` is standard input), its bytes, or an open binary file, which is read from where it stands to its
            end and not closed.

    Returns:
        The wave, float32 (N,) or (C, N), and its sample rate in Hz. A file of no samples is a wave of length 0.

    Raises:
        FileError, AudioError: not there, a directory, empty, not audio, damaged, not finite, or far beyond full scale.

    Warns:
        AudioWarning: some of the sound is missing, or was clipped to full scale; see `AudioReader`.
    """
    with AudioReader(source) as reader:
        blocks = list(reader.blocks())
        if not blocks:
            return np.zeros((0,) if reader.channels == 1 else (reader.channels, 0), np.float32), reader.sample_rate
        return np.concatenate(blocks, axis=-1), reader.sample_rate


def write_audio(target: Target, wave: NDArray[Any], sample_rate: int) -> None:
    """Write a wave (N,) or (C, N), see `check_wave`, as 16-bit PCM wav, clipped to full scale.

    Args:
        target: a path (``-`` is standard output), or an open binary file, such as an io.BytesIO; it is not closed.

    Raises:
        AudioError: the wave has the wrong shape or samples that are not finite, or the sample rate (Hz) is none.
        FileError: the target cannot be written, or its name is that of another format.
    """
    wave = check_wave(wave)
    sample_rate = check_sample_rate(sample_rate, "wave")
    check_audio_target(target)
    channels = 1 if wave.ndim == 1 else wave.shape[0]
    with atomic_output(target) as file:
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
        self._rates = source_rate, target_rate = _whole_rate(source_rate), _whole_rate(target_rate)
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

    def __getstate__(self) -> dict[str, Any]:
        if self._stream is not None:
            raise NotCopyableError(
                "a stream that resamples can be neither pickled nor copied; pickle the codec and begin a new stream, or give "
                "the stream sound at the codec's own sample rate"
            )
        return vars(self)

    def _cut(self, wave: Wave) -> Wave:
        wave = wave[:, : resampled_count(self._taken, *self._rates) - self._given]
        self._given += wave.shape[-1]
        return wave


def _whole_rate(rate: Any) -> int:
    return whole(rate, "a sample rate to resample between", 1, MAX_SAMPLE_RATE, AudioError)


def resample(wave: Any, source_rate: int, target_rate: int) -> Wave:
    """Resample a wave, (N,) or (C, N), see `check_wave`, to float32 (M,) or (C, M) with M = resampled_count(N).

    Raises:
        AudioError: it is no wave, or a rate (Hz) is no whole number.
    """
    wave = check_wave(wave)
    rows = np.atleast_2d(wave)
    resampler = Resampler(source_rate, target_rate, rows.shape[0])
    out = np.concatenate([resampler.push(rows), resampler.finish()], axis=-1)
    return out[0] if wave.ndim == 1 else out
