"""What is held out where nobody said which speakers."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcodec.data import DataConfig, open_data
from mixcodec.data.holdout import MOST_SHARE, hold_out, wanted_seconds
from mixcodec.data.store import Clip, Store
from mixcodec.errors import DataError

from .conftest import Write, tone

RATE = 100  # samples a second: the stores here hold no sound


def store(*seconds_of_speakers: list[float]) -> Store:
    clips, offset = [], 0
    for speaker, lengths in enumerate(seconds_of_speakers):
        for seconds in lengths:
            samples = round(seconds * RATE)
            clips.append(Clip(f"{speaker}/{len(clips)}.wav", offset, samples, 0, str(speaker), ""))
            offset += samples
    return Store(np.zeros(offset, np.int16), RATE, tuple(clips))


def seconds(clips: tuple[Clip, ...]) -> float:
    return sum(clip.samples for clip in clips) / RATE


def test_many_speakers_are_held_out_as_a_whole() -> None:
    cut = hold_out(store(*[[10.0] * 6] * 40), 0.05)  # 40 min
    speakers = {clip.unit for clip in cut.valid}
    assert speakers.isdisjoint({clip.unit for clip in cut.train})
    assert 60 <= seconds(cut.valid) <= 120
    assert cut.told == "2 of 40 speakers, 120 s"


def test_one_speaker_with_many_files_spares_some_files() -> None:
    cut = hold_out(store([6.0] * 100), 0.05)  # 10 min
    assert {c.path for c in cut.valid}.isdisjoint({c.path for c in cut.train})
    assert cut.told == "5 of 100 files, 30 s"


def test_a_few_long_files_spare_their_ends() -> None:
    whole = store([600.0], [1200.0, 0.5])
    cut = hold_out(whole, 0.05)
    assert cut.told == "the ends of 2 of 3 files, 90 s"
    for clip in whole.clips:
        parts = [(c.offset, c.samples) for c in (*cut.train, *cut.valid) if c.path == clip.path]
        assert sum(samples for _, samples in parts) == clip.samples
        assert min(parts)[0] == clip.offset
    assert all(c.offset + c.samples == next(w.offset + w.samples for w in whole.clips if w.path == c.path) for c in cut.valid)


def test_ten_hours_hold_out_ten_minutes() -> None:
    assert seconds(hold_out(store(*[[60.0] * 60] * 10), 0.05).valid) == pytest.approx(600, abs=60)
    assert wanted_seconds(36000, 0.05) == 600
    assert wanted_seconds(600, 0.05) == 30
    assert wanted_seconds(60, 0.05) == 12


def test_files_alone_can_be_asked_for() -> None:
    cut = hold_out(store(*[[10.0] * 6] * 40), 0.05, "file")
    assert cut.told.endswith("of 240 files, 120 s")


def test_too_little_holds_out_nothing() -> None:
    cut = hold_out(store([2.0]), 0.05)
    assert (len(cut.train), cut.valid) == (1, ())
    assert "too little" in cut.told


LENGTHS = st.lists(st.lists(st.floats(0.1, 400), min_size=1, max_size=12), min_size=1, max_size=12)


@given(LENGTHS, st.floats(0.01, 0.9), st.integers(0, 5))
def test_nothing_is_lost_or_on_both_sides_and_the_draw_repeats(lengths: list[list[float]], share: float, seed: int) -> None:
    whole = store(*lengths)
    cut = hold_out(whole, share, seed=seed)
    spans = sorted((c.offset, c.samples) for c in (*cut.train, *cut.valid))
    assert sum(samples for _, samples in spans) == len(whole.data)
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(spans))
    assert cut.train
    assert seconds(cut.valid) <= MOST_SHARE * whole.seconds + 1
    assert hold_out(whole, share, seed=seed) == cut


def test_open_data_holds_out_by_itself(write: Write, tmp_path: Path) -> None:
    write("talk.wav", tone(440, 30.0))
    config = DataConfig(root=str(tmp_path / "corpus"), cache_dir=str(tmp_path / "cache"), segment_seconds=0.5)
    config = dataclasses.replace(config, validation_fraction=0.05, validation_unit="auto")
    data = open_data(config)
    assert data.held_out == "the ends of 1 of 1 files, 6 s"
    assert data.train.seconds + data.valid.seconds == pytest.approx(30, abs=0.1)
    assert data.valid_segments().batch(0).shape == (8, 8000)
    assert len(data.manifest.entries) == 1
    with pytest.raises(DataError, match="did you mean 'file'"):
        dataclasses.replace(config, validation_unit="files")
