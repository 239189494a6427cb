"""What libsndfile cannot read, through ffmpeg; and a line that helps where there is none."""

import io
import subprocess
import warnings

import numpy as np
import pytest
import soundfile

from mixcodec.audio import AudioReader, read_audio
from mixcodec.cli.main import main
from mixcodec.errors import AudioError, AudioWarning

RATE, COUNT = 16000, 32000
EXACT = {"alac": "x.m4a", "flac": "x.mka", "tta": "x.tta", "pcm_s16le": "x.mkv"}
LOSSY = {"aac": "x.m4a", "libopus": "x.webm", "libvorbis": "x.mkv", "ac3": "x.ac3", "wmav2": "x.wma"}


@pytest.fixture
def wave():
    sine = 0.3 * np.sin(np.arange(COUNT) / 20)
    return (np.round((sine + 0.02 * np.random.default_rng(0).standard_normal(COUNT)) * 32768) / 32768).astype(np.float32)


@pytest.fixture
def coded(tmp_path, wave):
    """A function that codes the wave with ffmpeg."""

    def make(codec, name, *options, channels=1):
        soundfile.write(tmp_path / "x.wav", np.stack([wave] * channels, 1), RATE, subtype="PCM_16")
        command = ["ffmpeg", "-v", "error", "-y", "-i", tmp_path / "x.wav", "-c:a", codec, *options, tmp_path / name]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this ffmpeg has no {codec}")
        return tmp_path / name

    return make


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("codec", EXACT)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_loses_nothing_is_read_exactly(coded, wave, codec, channels):
    path = coded(codec, EXACT[codec], channels=channels)
    expected = wave if channels == 1 else np.stack([wave] * channels)
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again, rate = read_audio(source)
        assert rate == RATE
        assert np.array_equal(again, expected)
    with AudioReader(path) as reader:
        assert not reader.sure
        assert [block.shape[-1] for block in reader.blocks(10000)] == [10000, 10000, 10000, 2000]


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("codec", LOSSY)
def test_what_is_compressed(coded, wave, codec):
    again, rate = read_audio(coded(codec, LOSSY[codec]))
    count = COUNT * rate // RATE
    assert count - 1000 <= len(again) <= count * 1.1


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize(("codec", "name"), [("alac", "x.m4a"), ("libopus", "x.webm"), ("aac", "x.aac")])
def test_what_is_cut_is_said(coded, codec, name):
    path = coded(codec, name, *(["-movflags", "+faststart"] if name == "x.m4a" else []))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.warns(AudioWarning, match="ffmpeg says of it: "):
        again, rate = read_audio(path)
    assert 0.4 * COUNT < len(again) * RATE / rate < 0.8 * COUNT


@pytest.mark.needs("ffmpeg")
def test_the_command(coded, tiny_model, monkeypatch, capsys, tmp_path):
    path = coded("alac", "x.m4a")
    monkeypatch.chdir(tmp_path)
    assert main(["encode", "x.m4a", "--model", str(tiny_model)]) == 0
    assert capsys.readouterr().out.startswith("x.mxc: 2.00 s")
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["encode", "x.m4a", "--model", str(tiny_model)]) == 2
    said = capsys.readouterr().err
    assert said.endswith("where ffmpeg is installed; or convert it: ffmpeg -i x.m4a x.wav\n")
    assert said.count("\n") == 1
    assert path.exists()


@pytest.mark.needs("ffmpeg")
def test_what_is_no_sound(coded, tmp_path):
    """Nor a list of other files, which ffmpeg would follow."""
    coded("pcm_s16le", "talk.mkv")
    (tmp_path / "a.txt").write_text("this is not audio at all\n" * 10)
    (tmp_path / "b.txt").write_text("ffconcat version 1.0\nfile talk.mkv\n")
    (tmp_path / "c.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ntalk.mkv\n#EXT-X-ENDLIST\n")
    (tmp_path / "d.bin").write_bytes(np.random.default_rng(0).bytes(5000))
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=0.2:s=32x32", "-c:v", "mpeg4", tmp_path / "e.mp4"]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    for name in ("a.txt", "b.txt", "c.m3u8", "d.bin", "e.mp4"):
        with pytest.raises(AudioError, match="is not audio that can be read"):
            read_audio(tmp_path / name)


@pytest.mark.needs("ffmpeg")
def test_a_reader_that_is_left_ends_the_program(coded):
    with AudioReader(coded("pcm_s16le", "x.mkv")) as reader:
        next(reader.blocks(100))
        process = reader._sound._process
        assert process.poll() is None or process.returncode == 0
    assert process.returncode is not None
