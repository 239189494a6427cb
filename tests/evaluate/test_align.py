import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.evaluate.align import aligned, find_delay

RATE = 16000


def late(wave, delay):
    return np.pad(wave, (delay, 0)) if delay >= 0 else wave[-delay:]


@settings(max_examples=25, deadline=None)
@given(delay=st.integers(-2000, 2000), gain=st.floats(0.1, 3))
def test_a_pure_delay_is_found_to_the_sample_and_undone(speech, delay, gain):
    assert find_delay([speech], [gain * late(speech, delay)], RATE) == delay
    back = aligned(late(speech, delay), delay, len(speech))
    start, end = max(0, -delay), len(speech) - max(0, delay)
    assert len(back) == len(speech)
    assert (back[start:end] == speech[start:end]).all()


def test_one_delay_serves_all_clips(speech):
    clips = [speech[:20000], speech[20000:36000]]
    assert find_delay(clips, [late(clip, 112) for clip in clips], RATE) == 112


def test_a_codec_that_keeps_no_waveform_is_aligned_by_its_envelope(speech):
    """Noise with the envelope of speech, 40 ms late: no correlation of waveforms, but one of levels."""
    level = np.sqrt(np.convolve(speech.astype(np.float64) ** 2, np.ones(80) / 80, "same"))
    vocoded = level * np.random.default_rng(0).standard_normal(len(level))
    assert abs(find_delay([speech], [late(vocoded.astype(np.float32), 640)], RATE) - 640) <= 3 * 16


def test_nothing_to_go_by_is_no_delay():
    silence = np.zeros(8000, np.float32)
    assert find_delay([silence], [silence], RATE) == 0
    assert find_delay([], [], RATE) == 0


@pytest.mark.parametrize(("delay", "expected"), [(1, [2, 3, 0]), (0, [1, 2, 3]), (-1, [0, 1, 2])])
def test_alignment_by_hand(delay, expected):
    wave = np.array([1, 2, 3], np.float32)
    assert aligned(wave, delay, 3).tolist() == expected
    assert aligned(np.stack([wave, wave]), delay, 3).tolist() == [expected, expected]
