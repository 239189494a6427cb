"""What the codecs are given."""

import numpy as np
import pytest

from mixcodec.audio import read_audio, write_audio
from mixcodec.errors import AudioError
from mixcodec.evaluate.bench.signal import clip, synthetic_voice, write_looped


@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_voice_is_always_the_same_and_has_sound_hiss_and_pauses(rate):
    wave = synthetic_voice(rate)
    assert np.array_equal(wave, synthetic_voice(rate))
    assert wave.shape == (10 * rate,)
    assert np.abs(wave).max() == pytest.approx(0.5)
    syllables = wave.reshape(40, rate // 4)
    power = np.abs(np.fft.rfft(syllables * np.hanning(rate // 4))) ** 2
    hertz = np.fft.rfftfreq(rate // 4, 1 / rate)
    centre = (power @ hertz)[power.sum(1) > 0] / power.sum(1)[power.sum(1) > 0]
    assert (syllables == 0).all(1).sum() == 5, "every seventh of 40"
    assert (centre < 2500).sum() >= 20, "voiced"
    assert (centre > rate / 4).sum() >= 10, "hissed"


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5])
def test_a_looped_file_repeats_to_the_very_sample(tmp_path, seconds):
    wave = (np.arange(1000) / 1024).astype("float32")
    write_looped(tmp_path / "a.wav", wave, 1000, seconds)
    found, rate = read_audio(tmp_path / "a.wav")
    assert rate == 1000
    np.testing.assert_array_equal(found, np.resize(wave, round(1000 * seconds)))


def test_a_file_is_mixed_and_resampled(tmp_path):
    write_audio(tmp_path / "a.wav", np.stack([np.full(4000, 0.5), np.full(4000, 0.25)]).astype("float32"), 8000)
    found = clip(tmp_path / "a.wav", 16000)
    assert found.shape == (8000,)
    np.testing.assert_allclose(found[1000:-1000], 0.375, atol=1e-3)


def test_a_file_without_sound_is_refused(tmp_path):
    write_audio(tmp_path / "a.wav", np.zeros(0, "float32"), 8000)
    with pytest.raises(AudioError, match="has no samples"):
        clip(tmp_path / "a.wav", 16000)
