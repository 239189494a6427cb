"""Each baseline on real speech, and against its own tools' word."""

import shutil

import numpy as np
import pytest
import soundfile as sf

from mixcodec import write_audio
from mixcodec.evaluate.align import aligned, find_delay
from mixcodec.evaluate.baselines import parse_points
from mixcodec.evaluate.baselines.programs import ProgramError, ogg_packet_bytes, run
from mixcodec.evaluate.measure import through
from mixcodec.evaluate.metrics import METRICS
from mixcodec.extras import MissingPartError

RATE = 16000
POINTS = {
    "opus@12": 12,
    "speex@10": 9.8,
    "codec2@3.2": 3.2,
    "mp3@24": 24,
    "aac@32": 32,
    "g722": 64,
    "identity": 256,
    "lowpass@3500": 112,
}
PROGRAMS = {"opus": "opusenc", "speex": "speexenc", "codec2": "c2enc", "mp3": "ffmpeg", "aac": "ffmpeg", "g722": "ffmpeg"}


def coder_of(point):
    if (program := PROGRAMS.get(point.split("@")[0])) and not shutil.which(program):
        pytest.skip(f"needs {program}")
    coder = parse_points([point])[0]
    coder.check()
    return coder


@pytest.fixture
def coded(tmp_path, speech):
    def code(point):
        write_audio(tmp_path / "source.wav", speech, RATE)
        return through(coder_of(point), tmp_path / "source.wav", tmp_path, RATE)

    return code


@pytest.mark.parametrize("point", POINTS)
def test_keeps_the_speech_at_about_its_rate(point, coded, speech):
    path, wave = coded(point)
    wave = aligned(wave, find_delay([speech], [wave], RATE), len(speech))
    stoi = METRICS.build("stoi")
    from mixcodec.audio import resample

    score = stoi.measure(resample(speech, RATE, 10000), resample(wave, RATE, 10000), 10000)["stoi"]
    assert score > 0.8
    payload_kbps = coder_of(point).payload_bytes(path) * 8 / 1000 / (len(speech) / RATE)
    assert payload_kbps == pytest.approx(POINTS[point], rel=0.25), "variable bitrates wander on three seconds"
    assert coder_of(point).payload_bytes(path) <= path.stat().st_size


@pytest.mark.parametrize("point", ["opus@12", "codec2@1.3", "aac@32", "g722", "speex@10"])
def test_the_same_twice(point, coded):
    one, two = coded(point), None
    size, two = one[0].stat().st_size, coded(point)
    assert size == two[0].stat().st_size
    assert (one[1] == two[1]).all()


@pytest.mark.needs("opusenc", "opusdec", "c2enc")
def test_nothing_is_cut_off_at_the_end(coded, speech):
    """Codec2's own program drops what is less than a frame; here it may not."""
    for point in ("opus@12", "codec2@3.2"):
        assert len(coded(point)[1]) >= len(speech)


@pytest.mark.needs("opusenc", "ffprobe")
def test_ogg_packets_are_those_that_ffprobe_lists(coded):
    path, _ = coded("opus@12")
    listed = run("ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "default=nw=1:nk=1", path)
    assert ogg_packet_bytes(path)[2:] == [int(size) for size in listed.split()]


@pytest.mark.parametrize(
    ("point", "package"), [("opus@6", "opus-tools"), ("speex@8", "speex"), ("codec2@1.2", "codec2"), ("mp3@32", "ffmpeg")]
)
def test_a_missing_program_names_its_debian_package(point, package, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPartError, match=f"apt-get install {package}$"):
        parse_points([point])[0].check()


def test_a_program_that_fails_says_why():
    with pytest.raises(ProgramError, match="status 3: no room"):
        run("sh", "-c", "echo no room >&2; exit 3")


def test_lowpass_takes_away_what_is_above(coded):
    path, wave = coded("lowpass@3500")
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    frequencies = np.fft.rfftfreq(len(wave), 1 / RATE)
    assert spectrum[frequencies > 3800].sum() < 1e-5 * spectrum.sum()
    assert sf.info(path).samplerate == 7000
