"""Pitch tracks: what was planted is found, and it stays beside the samples that it belongs to."""

import numpy as np
import pytest
import soundfile as sf

from mixcodec.data import DataConfig, open_data
from mixcodec.data.pitch import pitch_track, track_hop
from mixcodec.errors import DataError

pytest.importorskip("parselmouth")
RATE = 16000


def voice(hertz: np.ndarray) -> np.ndarray:
    """Ten harmonics of a pitch (N,) in Hz."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return (0.05 * sum(np.sin(h * phase) / h for h in range(1, 11))).astype(np.float32)


def test_a_glide_is_tracked_from_the_first_sample_on():
    hertz = np.linspace(110, 220, RATE)
    wave = np.concatenate([voice(hertz), np.zeros(RATE // 2, np.float32)])
    track = pitch_track(wave, RATE)
    assert track.shape == (len(wave) // 80 + 1,)
    inside = slice(20, 180)
    cents = 1200 * np.log2(track[inside] / hertz[::80][inside])
    assert np.abs(cents).max() < 10
    assert not track[220:].any()
    assert not pitch_track(np.zeros(10, np.float32), RATE).any()


def test_a_rate_that_5_ms_does_not_divide_is_refused():
    with pytest.raises(DataError, match="200 divides"):
        track_hop(22050)


@pytest.fixture
def tones(tmp_path):
    """A second of each of five pitches, each by a speaker of its own."""
    for hertz in (90, 120, 170, 240, 330):
        folder = tmp_path / "audio" / f"at{hertz}"
        folder.mkdir(parents=True)
        sf.write(folder / "a.wav", voice(np.full(RATE + 37, float(hertz))), RATE)
    return tmp_path


@pytest.mark.parametrize("speeds", [(1.0, 1.0), (0.8, 1.25)])
def test_the_track_of_a_segment_is_that_of_its_samples(tones, speeds):
    config = DataConfig(
        root=str(tones / "audio"),
        cache_dir=str(tones / "cache"),
        segment_seconds=0.7,
        batch_size=6,
        speed_low=speeds[0],
        speed_high=speeds[1],
    )
    segments = open_data(config, pitch=True).train_segments()
    waves, tracks = segments.batch_with_pitch(3)
    assert np.array_equal(waves, segments.batch(3))
    assert tracks.shape == (6, waves.shape[1] // 80 + 1)
    seen = set()
    for wave, track in zip(waves, tracks, strict=True):
        at = 20 + np.flatnonzero(track[20:-20] > 0)
        assert len(at) > 30
        heard = pitch_track(wave, RATE)  # of the segment itself, cut and played at its speed
        even = np.isclose(track[at - 4], track[at + 4], rtol=0.003) & (heard[at - 4] > 0) & (heard[at + 4] > 0)
        both = at[even & (heard[at] > 0)]
        assert len(both) > 20
        assert np.abs(1200 * np.log2(track[both] / heard[both])).max() < 15
        seen.add(round(float(np.median(track[both]))))
    assert len(seen) > 1
    if speeds == (1.0, 1.0):
        assert all(min(abs(hertz - planted) for planted in (90, 120, 170, 240, 330)) <= 1 for hertz in seen)


def test_without_pitch_nothing_is_tracked(tones):
    data = open_data(DataConfig(root=str(tones / "audio"), cache_dir=str(tones / "cache"), segment_seconds=0.5))
    assert data.train_segments().batch_with_pitch(0)[1].shape == (8, 0)
    assert not list((tones / "cache").glob("pitch-*"))
