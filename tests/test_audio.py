"""Audio files and resampling, against soundfile, soxr and the sine itself."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.audio import AudioReader, Resampler, read_audio, resample, resampled_count, wav_header, write_audio
from mixcodec.errors import AudioError, AudioWarning, FileError, MixcodecWarning

RATES = [8000, 11025, 16000, 22050, 44100, 48000]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(0,), (1,), (777,), (2, 500), (5, 3), (2, 0)])
def test_wav_there_and_back(tmp_path, shape):
    wave = np.round(noise(*shape) * 32767) / np.float32(32768)
    write_audio(tmp_path / "x.wav", wave, 22050)
    again, rate = read_audio(tmp_path / "x.wav")
    assert rate == 22050
    assert again.dtype == np.float32
    assert np.array_equal(again, wave)
    info = soundfile.info(tmp_path / "x.wav")
    assert (info.subtype, info.frames, info.channels) == ("PCM_16", shape[-1], shape[0] if len(shape) > 1 else 1)


def test_clipping_does_not_wrap(tmp_path):
    with pytest.warns(MixcodecWarning):
        write_audio(tmp_path / "x.wav", np.float32([1.0, 1.5, 100.0, -1.0, -7.0]), 16000)
    samples, _ = soundfile.read(tmp_path / "x.wav", dtype="int16")
    assert samples.tolist() == [32767, 32767, 32767, -32768, -32768]


def test_integers_called_floats_are_refused(tmp_path):
    """Coded as they are, they would be noise at full scale."""
    wave = np.round(noise(1000) * 32767)
    for subtype in ("FLOAT", "DOUBLE"):
        soundfile.write(tmp_path / "x.wav", wave, 16000, subtype=subtype)
        with pytest.raises(AudioError, match="full scale is -1 to 1"):
            read_audio(tmp_path / "x.wav")


@pytest.mark.parametrize("form", ["wav", "aiff", "au", "caf", "w64"])
def test_overs_of_float_files_are_clipped_and_said(tmp_path, form):
    wave = np.float32([[0.5, 1.0, 1.5, -3.0, -1.0], [0, 0, 0, 2.0, 0]])
    soundfile.write(tmp_path / f"x.{form}", wave.T, 16000, subtype="FLOAT")
    with pytest.warns(AudioWarning, match="3 of 10 samples were beyond full scale and are clipped"):
        again, _ = read_audio(tmp_path / f"x.{form}")
    assert np.array_equal(again, np.clip(wave, -1, 1))


def test_overshoot_of_a_lossy_decoder_is_left_alone(tmp_path):
    square = np.sign(np.sin(np.arange(16000) / 20)).astype(np.float32)
    soundfile.write(tmp_path / "x.ogg", square, 16000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wave, _ = read_audio(tmp_path / "x.ogg")
    assert 1 < np.abs(wave).max() < 2


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_full_scale_is_no_over(tmp_path, subtype):
    soundfile.write(tmp_path / "x.wav", np.float32([1, -1, 0]), 16000, subtype=subtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_audio(tmp_path / "x.wav")


class OneWay:
    """A stream as that of a socket: no seeking, and as many bytes at a time as it likes."""

    def __init__(self, data=b""):
        self._file = io.BytesIO(data)
        self.taken = b""

    def read(self, count=-1):
        return self._file.read(min(count, 1000) if count > 0 else count)

    def write(self, data):
        self.taken += bytes(data[:700])
        return len(data[:700])


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3"])
def test_reading_from_bytes_and_open_files(tmp_path, form):
    path = tmp_path / f"x.{form}"
    soundfile.write(path, 0.5 * np.sin(np.arange(30000) / 20), 16000)
    data, (wave, rate) = path.read_bytes(), read_audio(path)
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), OneWay(data), Path(path), path.open("rb", 0)):
        again, same_rate = read_audio(source)
        assert np.array_equal(again, wave)
        assert same_rate == rate
    with path.open("rb") as file:
        assert np.array_equal(read_audio(file)[0], wave)
        assert not file.closed
    behind = io.BytesIO(b"another thing" + data)
    behind.seek(13)
    assert np.array_equal(read_audio(behind)[0], wave)


@pytest.mark.parametrize("shape", [(30000,), (3, 20000)])
def test_writing_to_open_files(tmp_path, shape):
    wave = noise(*shape) / 2
    write_audio(tmp_path / "x.wav", wave, 16000)
    data = (tmp_path / "x.wav").read_bytes()
    memory, stream = io.BytesIO(), OneWay()
    memory.write(b"before")
    write_audio(memory, wave, 16000)
    assert memory.getvalue() == b"before" + data
    write_audio(stream, wave, 16000)
    assert stream.taken == data
    with open(tmp_path / "y.wav", "wb") as file:
        write_audio(file, wave, 16000)
    assert (tmp_path / "y.wav").read_bytes() == data


def test_what_is_no_binary_file(tmp_path):
    (tmp_path / "x").write_text("x")
    with open(tmp_path / "x") as text, pytest.raises(FileError, match="mode 'rb'"):
        read_audio(text)
    with open(tmp_path / "x", "w") as text, pytest.raises(FileError, match="mode 'wb'"):
        write_audio(text, noise(3), 16000)
    for wrong in (io.StringIO("x"), 3, None, object()):
        with pytest.raises(FileError):
            read_audio(wrong)
        with pytest.raises(FileError):
            write_audio(wrong, noise(3), 16000)
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(FileError, match="closed"):
        read_audio(closed)
    with pytest.raises(AudioError, match="the bytes: is empty"):
        read_audio(b"")
    with pytest.raises(AudioError, match="the bytes: is not audio"):
        read_audio(b"this is not audio at all" * 9)


def test_a_file_that_cannot_be_read_on_is_told(tmp_path):
    """libsndfile calls Python for the bytes, and would take an error there for the end of the file."""
    wave = noise(400_000) / 2
    soundfile.write(tmp_path / "x.wav", wave, 16000)
    data = (tmp_path / "x.wav").read_bytes()

    class Failing(io.BytesIO):
        def __init__(self, failure):
            super().__init__(data)
            self.failure = failure

        def read(self, count=-1):
            if self.tell() > 300_000:
                raise self.failure
            return super().read(count)

    for failure, expected in ((OSError(5, "Input/output error"), AudioError), (KeyboardInterrupt(), KeyboardInterrupt)):
        with pytest.raises(expected):
            read_audio(Failing(failure))


def test_huge_wavs_are_rf64():
    header = wav_header(48000, 2, 1 << 31)
    assert (header[:4], header[12:16], len(header)) == (b"RF64", b"ds64", 80)
    assert struct.unpack("<QQQ", header[20:44]) == ((1 << 33) + 72, 1 << 33, 1 << 31)
    short = wav_header(16000, 1, 3) + bytes(6)
    assert len(short) == 50
    # libsndfile reads the same layout with RF64 in front, at a size that fits a test
    body = wav_header(16000, 1, 1 << 32)
    body = body[:20] + struct.pack("<QQQ", 78, 6, 3) + body[44:] + b"\1\0\2\0\3\0"
    samples, rate = soundfile.read(io.BytesIO(body), dtype="int16")
    assert (samples.tolist(), rate) == ([1, 2, 3], 16000)


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_formats(tmp_path, form):
    wave = 0.3 * np.sin(np.arange(16000) / 20).astype(np.float32)
    path = tmp_path / f"x.{form}"
    soundfile.write(path, np.stack([wave, -wave], axis=1), 16000)
    again, rate = read_audio(path)
    expected, _ = soundfile.read(path, dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(again, expected.T, rtol=0, atol=1e-6)  # the mp3 decoder rounds as it likes
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(1000))
    assert len(blocks) == 16
    assert np.array_equal(np.concatenate(blocks, axis=1), again)


def test_opus(tmp_path):
    if "OPUS" not in soundfile.available_subtypes("OGG"):
        pytest.skip("this libsndfile writes no Opus")
    wave = 0.3 * np.sin(np.arange(48000) / 20).astype(np.float32)
    soundfile.write(tmp_path / "x.opus", wave, 48000, format="OGG", subtype="OPUS")
    again, rate = read_audio(tmp_path / "x.opus")
    assert rate == 48000
    assert np.corrcoef(again[: wave.size], wave)[0, 1] > 0.99


def test_blocks_are_the_file(tmp_path):
    wave = noise(3, 1000)
    soundfile.write(tmp_path / "x.wav", wave.T, 16000, subtype="FLOAT")
    with AudioReader(tmp_path / "x.wav") as reader:
        blocks = list(reader.blocks(300))
    assert [block.shape for block in blocks] == [(3, 300), (3, 300), (3, 300), (3, 100)]
    assert np.array_equal(np.concatenate(blocks, axis=1), wave)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RATES), st.sampled_from(RATES), st.lists(st.integers(0, 3000), max_size=6), st.integers(1, 2))
def test_resampling_does_not_depend_on_the_chunks(source, target, lengths, channels):
    wave = noise(channels, sum(lengths))
    whole = resample(wave, source, target)
    assert whole.shape == (channels, resampled_count(sum(lengths), source, target))
    resampler = Resampler(source, target, channels)
    pieces = [resampler.push(piece) for piece in np.split(wave, np.cumsum(lengths), axis=1)]
    assert np.array_equal(np.concatenate([*pieces, resampler.finish()], axis=1), whole)


@pytest.mark.parametrize(("source", "target"), [(16000, 44100), (44100, 16000), (48000, 16000)])
def test_resampling_is_that_of_soxr(source, target):
    wave = noise(12345)
    expected = soxr.resample(wave, source, target, quality="HQ")
    ours = resample(wave, source, target)
    length = min(len(ours), len(expected))
    assert abs(len(ours) - len(expected)) <= 1
    assert np.abs(ours[:length] - expected[:length]).max() < 1e-5


@given(st.integers(0, 10**9), st.sampled_from(RATES), st.sampled_from(RATES))
def test_the_way_back_is_long_enough(count, source, target):
    assert resampled_count(resampled_count(count, source, target), target, source) >= count


def bad_files(folder: Path) -> dict[str, str]:
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is not audio at all\n" * 10)
    (folder / "x.raw").write_bytes(bytes(1000))
    soundfile.write(folder / "nan.wav", np.float32([0, 0, np.nan, 0]), 16000, subtype="FLOAT")
    soundfile.write(folder / "inf.wav", np.float32([[0, 0], [0, np.inf]]), 16000, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", np.zeros(10), 10)
    return {
        "missing.wav": "no such file",
        "": "is a directory",
        "empty.wav": "is empty",
        "text.wav": "not audio",
        "x.raw": "not audio",
        "nan.wav": "sample 2 is NaN",
        "inf.wav": "sample 1 is NaN",
        "slow.wav": "10 Hz",
    }


def test_bad_files(tmp_path):
    for name, message in bad_files(tmp_path).items():
        with pytest.raises((AudioError, FileError), match=message):
            read_audio(tmp_path / name)


def test_bad_waves_leave_nothing(tmp_path):
    for wave in (np.zeros((1, 2, 3)), np.zeros(4, int), np.float32([np.nan]), np.zeros((256, 1), np.float32)):
        with pytest.raises(AudioError):
            write_audio(tmp_path / "x.wav", wave, 16000)
    for name in ("x.flac", "missing/x.wav", ""):
        with pytest.raises(FileError):
            write_audio(tmp_path / name, np.zeros(3, np.float32), 16000)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_what_was_there(tmp_path):
    from mixcodec.files import atomic_output

    (tmp_path / "x").write_text("old")

    def interrupted() -> None:
        with atomic_output(tmp_path / "x") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("x", "old")]
