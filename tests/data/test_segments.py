from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.data import Augment, Segments, Store, build_manifest, open_store, split_by_speaker
from mixcodec.data.segments import active_share
from mixcodec.errors import DataError

from .conftest import CLIPS, RATE, TONES, Write, tone


@pytest.fixture(scope="module")
def store(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    manifest = build_manifest(corpus, split="train", kind="speech")
    return open_store(manifest, RATE, tmp_path_factory.mktemp("cache"))


def tone_shares(wave: np.ndarray) -> dict[str, float]:
    """The share of a segment's energy within 50 Hz of each speaker's tone."""
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    hz = np.fft.rfftfreq(len(wave), 1 / RATE)
    return {unit: float(power[np.abs(hz - f) < 50].sum() / power.sum()) for unit, f in TONES.items()}


@settings(max_examples=40, deadline=None)
@given(
    seconds=st.floats(1 / RATE, 2.5),
    batch=st.integers(1, 4),
    seed=st.integers(0, 2**64),
    step=st.integers(0, 2**40),
    noisy=st.booleans(),
)
def test_a_batch_is_a_pure_function_of_seed_and_step(
    store: Store, seconds: float, batch: int, seed: int, step: int, noisy: bool
) -> None:
    augment = Augment(p_noise=0.5, p_room=0.5, p_lowpass=0.5) if noisy else None
    segments = Segments(store, seconds, batch, seed, augment=augment)
    wave = segments.batch(step)
    assert (wave.shape, wave.dtype) == ((batch, round(seconds * RATE)), np.float32)
    assert np.isfinite(wave).all()
    assert np.abs(wave).max() <= 1
    segments.batch(step + 1)  # asked for in another order, and by another object
    fresh = Segments(store, seconds, batch, seed, augment=augment)
    fresh.batch(step + 7)
    assert np.array_equal(segments.batch(step), wave)
    assert np.array_equal(fresh.batch(step), wave)
    parts = [segments.batch(step, part) for part in range(2)]
    twice = Segments(store, seconds, 2 * batch, seed, augment=augment)
    assert np.array_equal(twice.batch(step), np.concatenate(parts))


def test_seeds_steps_and_items_differ(store: Store) -> None:
    waves = [*Segments(store, 1.0, 3, 0).batch(0), *Segments(store, 1.0, 3, 0).batch(1), *Segments(store, 1.0, 3, 1).batch(0)]
    assert len({w.tobytes() for w in waves}) == len(waves)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_speakers_are_drawn_by_a_power_of_their_seconds(store: Store, balance: float) -> None:
    segments = Segments(store, 0.05, 1, 3, balance=balance)
    seconds = np.array([sum(CLIPS[u]) for u in segments.units])
    want = seconds**balance / (seconds**balance).sum()
    assert segments.shares == pytest.approx(want)
    n = 1500
    drawn = [segments.segment(i, 0)[1] for i in range(n)]
    got = np.array([drawn.count(u) for u in segments.units]) / n
    assert np.abs(got - want).max() < 4.5 * np.sqrt(0.25 / n)  # 4.5 standard deviations of the widest binomial


def test_a_segment_holds_one_speaker_only(store: Store) -> None:
    segments = Segments(store, 2.0, 1, 0)
    for step in range(60):
        wave, unit = segments.segment(step, 0)
        assert tone_shares(wave)[unit] > 0.95


def test_no_validation_speaker_is_in_training(store: Store, corpus: Path) -> None:
    manifest = build_manifest(corpus, split="train", kind="speech")
    train, valid = split_by_speaker(manifest, ["game/bob", "words/di"])
    for side, units in ((train, {"game/ann", "words/cy"}), (valid, {"game/bob", "words/di"})):
        segments = Segments(store.subset(side), 1.0, 4, 0)
        heard = {u for i in range(20) for w in segments.batch(i) for u, share in tone_shares(w).items() if share > 0.02}
        assert heard == units


def test_a_segment_of_a_longer_clip_is_a_plain_cut(write: Write, tmp_path: Path) -> None:
    write("a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 40000).astype(np.float32))
    store = open_store(build_manifest(tmp_path / "corpus"), RATE, tmp_path / "cache")
    clip, starts = store.clip(0), set()
    for step in range(30):
        wave = Segments(store, 1.0, 1, 0).batch(step)[0]
        found = [
            i for i in range(len(clip) - len(wave) + 1) if clip[i] == wave[0] and np.array_equal(clip[i : i + len(wave)], wave)
        ]
        assert len(found) == 1
        starts.add(found[0])
    assert min(starts) < 24000 * 0.2
    assert max(starts) > 24000 * 0.8


def test_short_clips_are_joined_without_clicks_and_hardly_padded(write: Write, tmp_path: Path) -> None:
    for i, seconds in enumerate((0.4, 0.6, 0.7)):
        n = np.arange(round(seconds * RATE))
        write(f"{i}.wav", (0.3 * np.cos(2 * np.pi * 500 * n / RATE)).astype(np.float32))  # begins and ends at its peak
    segments = Segments(open_store(build_manifest(tmp_path / "corpus"), RATE, tmp_path / "cache"), 3.0, 1, 0)
    waves = [segments.batch(i)[0] for i in range(40)]
    assert np.mean([active_share(w, RATE) for w in waves]) > 0.85
    assert min(active_share(w, RATE) for w in waves) > 0.6
    # the steepest that the tone and a fade of 5 ms can be, from sample to sample; a click would be 0.3 or 0.6
    assert max(np.abs(np.diff(w)).max() for w in waves) < 0.3 * (2 * np.pi * 500 / RATE + 1 / 80)
    quiet = ["".join(".#"[int(abs(x) > 1e-6)] for x in w).split("#") for w in waves]
    gaps = [len(run) for runs in quiet for run in runs if len(run) > 100]
    assert len(gaps) > 10
    assert max(gaps) <= 0.2 * RATE + 10


def test_a_nearly_silent_segment_is_drawn_again(write: Write, tmp_path: Path) -> None:
    hush = (1e-4 * np.random.default_rng(0).standard_normal(8 * RATE)).astype(np.float32)
    write("a.wav", np.concatenate([tone(440, 2.0), hush, tone(440, 2.0)]))
    store = open_store(build_manifest(tmp_path / "corpus"), RATE, tmp_path / "cache")
    segments = Segments(store, 1.0, 1, 0)
    shares = np.array([active_share(segments.batch(i)[0], RATE) for i in range(100)])
    # a cut at random is silent with p = 7 / 11, so six in a row with p = 0.07
    assert (shares < 0.3).mean() < 0.2


@pytest.mark.parametrize(
    "options", [{"seconds": 0.0}, {"seconds": 1e-9}, {"batch": 0}, {"seed": -1}], ids=lambda o: next(iter(o))
)
def test_impossible_segments_are_data_errors(store: Store, options: dict[str, float]) -> None:
    with pytest.raises(DataError):
        Segments(store, **({"seconds": 1.0, "batch": 1, "seed": 0} | options))


def test_no_clips_are_a_data_error(store: Store) -> None:
    with pytest.raises(DataError, match="no clips"):
        Segments(Store(store.data, RATE, ()), 1.0, 1)
