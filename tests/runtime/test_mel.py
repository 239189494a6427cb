"""The mel distance, against closed forms."""

import numpy as np
import pytest

from mixcodec.audio import write_audio
from mixcodec.mel import mel_filters
from mixcodec.runtime.mel import MelDistance, file_mel_distance


def distance(one, other, sizes=(10**6,)):
    measure = MelDistance(16000, one.shape[0])
    cuts = np.cumsum(sizes)
    for pair in zip(np.split(one, cuts, axis=1), np.split(other, cuts, axis=1), strict=True):
        measure.push(*pair)
    return measure.finish()


def test_closed_forms():
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32)
    assert distance(wave, wave) == 0
    assert distance(wave, wave / 2) == pytest.approx(np.log(2), rel=1e-5)
    assert distance(wave, -wave) == 0
    assert distance(wave, wave / 2, (1, 1023, 700, 3000)) == pytest.approx(np.log(2), rel=1e-5)
    assert distance(wave[:, :0], wave[:, :0]) == 0
    assert distance(wave[:, :100], wave[:, :100] / 4) == pytest.approx(np.log(4), rel=1e-5)


def test_filters():
    filters = mel_filters(16000, 1024, 80)
    assert filters.shape == (513, 80)
    assert filters.max() <= 1
    peaks = filters.argmax(axis=0) * 16000 / 1024
    assert np.all(np.diff(peaks) >= 0)
    mels = 2595 * np.log10(1 + peaks / 700)
    assert np.abs(mels - np.arange(1, 81) * 2595 * np.log10(1 + 8000 / 700) / 81).max() < 20


def test_files(tmp_path):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 30000).astype(np.float32)
    write_audio(tmp_path / "a.wav", wave, 44100)
    write_audio(tmp_path / "b.wav", wave / 2, 44100)
    assert file_mel_distance(tmp_path / "a.wav", tmp_path / "b.wav", 16000) == pytest.approx(np.log(2), abs=1e-2)
