import json
import os
from pathlib import Path

import numpy as np
import pytest
import soxr

from mixcodec.data import build_manifest, open_store, split_by_speaker
from mixcodec.data import store as module
from mixcodec.errors import DataError

from .conftest import Write, tone


def packed(tmp_path: Path, rate: int = 16000, **options: int):
    return open_store(build_manifest(tmp_path / "corpus"), rate, tmp_path / "cache", **options)


@pytest.mark.parametrize(("native", "rate"), [(44100, 16000), (16000, 16000), (8000, 24000)])
def test_clips_equal_soxr_at_once(write: Write, tmp_path: Path, native: int, rate: int) -> None:
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (native * 33, 2)).astype(np.float32)  # more than one block
    write("a.wav", stereo, native, subtype="FLOAT")
    mono = stereo.mean(1)
    want = soxr.resample(mono, native, rate, "HQ") if native != rate else mono
    got = packed(tmp_path, rate).clip(0)
    assert len(got) == len(want)
    assert np.abs(got - want).max() <= 1.01 / 32768  # rounding to 16 bits, and float32 in the resampler


def test_numpy_alone_reads_the_samples(write: Write, tmp_path: Path) -> None:
    write("a.wav", tone(440, 1.0))
    write("b.wav", tone(880, 0.5))
    store = packed(tmp_path)
    (file,) = (tmp_path / "cache").glob("*.npy")
    flat = np.load(file, mmap_mode="r")
    assert (flat.dtype, flat.shape) == (np.int16, (24000,))
    assert [(c.path, c.offset, c.samples) for c in store.clips] == [("a.wav", 0, 16000), ("b.wav", 16000, 8000)]
    assert np.abs(flat[16000:] / 32768 - tone(880, 0.5)).max() < 1 / 32768
    assert store.seconds == 1.5


def test_silence_at_the_ends_is_cut_to_a_margin(write: Write, tmp_path: Path) -> None:
    rest = np.zeros(32000, np.float32)
    write("a.wav", np.concatenate([rest, tone(440, 0.5), rest[:8000], tone(440, 0.5), rest]))
    got = packed(tmp_path).clip(0)
    assert len(got) == pytest.approx(24000 + 2 * 1600, abs=640)  # a frame at each end
    assert not got[:1000].any()
    assert not got[-1000:].any()


def test_what_cannot_be_used_is_reported(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write("good.wav", tone(440, 1.0))
    write("nan.wav", np.full(16000, np.nan, np.float32), subtype="FLOAT")
    write("silent.wav", np.zeros(16000, np.float32))
    flac = write("cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 160000).astype(np.float32))
    flac.write_bytes(flac.read_bytes()[:5000])
    for _ in range(2):  # built, and from the cache
        caplog.clear()
        store = packed(tmp_path)
        assert "good.wav" in [c.path for c in store.clips]
        reasons = {b.path: b.reason for b in store.broken}
        assert "NaN or infinite" in reasons["nan.wav"]
        assert reasons["silent.wav"] == "is silent"
        assert {"good.wav"} <= {c.path for c in store.clips} <= {"good.wav", "cut.flac"}
        assert all(path in caplog.text for path in reasons)


def test_nothing_usable_is_a_data_error_and_leaves_no_file(write: Write, tmp_path: Path) -> None:
    write("silent.wav", np.zeros(16000, np.float32))
    with pytest.raises(DataError, match="silent"):
        packed(tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_killed_build_leaves_no_file(write: Write, tmp_path: Path) -> None:
    for i in range(3):
        write(f"{i}.wav", tone(440, 1.0))

    def kill(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed(tmp_path, progress=kill)
    assert list((tmp_path / "cache").iterdir()) == []


def test_packed_once_and_again_when_a_file_changes(write: Write, tmp_path: Path) -> None:
    file = write("a.wav", tone(440, 1.0))
    calls: list[int] = []

    def count(done: int, total: int) -> None:
        calls.append(done)

    first = packed(tmp_path, progress=count)
    packed(tmp_path, progress=count)
    assert calls == [1]
    assert packed(tmp_path, 8000, progress=count).seconds == 1.0  # another rate is another store
    packed(tmp_path, progress=count)
    assert calls == [1, 1]  # and replaces none
    write("a.wav", tone(2000, 1.0))  # same length, same size
    os.utime(file, ns=(1, 1))
    again = packed(tmp_path, progress=count)
    assert calls == [1, 1, 1]
    assert np.abs(again.clip(0) - first.clip(0)).max() > 0.1


def test_two_processes_pack_what_one_packs(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW", 0)
    monkeypatch.setattr(module, "CHUNK", 2)
    for i in range(25):
        write(f"{i:02}.wav", tone(300 + 50 * i, 0.1 + 0.01 * i))
    (tmp_path / "corpus/07.wav").write_bytes((tmp_path / "corpus/07.wav").read_bytes()[:44])
    manifest = build_manifest(tmp_path / "corpus")
    one = open_store(manifest, 16000, tmp_path / "one", processes=1)
    two = open_store(manifest, 16000, tmp_path / "two", processes=2)
    assert one.clips == two.clips
    assert np.array_equal(one.data, two.data)


@pytest.mark.parametrize("key", ["magic", "version", "samples", "crc32"])
def test_an_index_of_another_kind_is_packed_anew(write: Write, tmp_path: Path, key: str) -> None:
    write("a.wav", tone(440, 1.0))
    first = packed(tmp_path)
    (file,) = (tmp_path / "cache").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: 7}))
    again = packed(tmp_path)
    assert again.clips == first.clips
    assert json.loads(file.read_text())[key] != 7


def test_damaged_samples_are_found(write: Write, tmp_path: Path) -> None:
    write("a.wav", tone(440, 1.0))
    write("b.wav", tone(440, 1.0))
    assert packed(tmp_path).damaged() == []
    (file,) = (tmp_path / "cache").glob("*.npy")
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    assert packed(tmp_path).damaged() == ["b.wav"]


def test_a_cache_that_cannot_be_written_is_a_data_error(write: Write, tmp_path: Path) -> None:
    write("a.wav", tone(440, 1.0))
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="cache_dir"):
        packed(tmp_path)
    with pytest.raises(DataError, match="0 Hz"):
        packed(tmp_path, 0)


def test_a_subset_holds_only_its_manifest(corpus: Path, tmp_path: Path) -> None:
    manifest = build_manifest(corpus, split="train", kind="speech")
    store = open_store(manifest, 16000, tmp_path)
    train, valid = split_by_speaker(manifest, ["game/bob"])
    assert {c.unit for c in store.subset(valid).clips} == {"game/bob"}
    assert len(store.subset(train)) + len(store.subset(valid)) == len(store)
    assert np.array_equal(store.subset(valid).clip(0), store.clip([c.unit for c in store.clips].index("game/bob")))


def test_what_is_joined_or_cut_is_packed_as_it_is_and_what_is_damaged_is_left_out(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wav = write("cut.wav", tone(440, 2.0))
    ogg = write("damaged.ogg", np.random.default_rng(0).uniform(-0.3, 0.3, 160000))
    tail = write("tail.ogg", tone(440, 1.0))
    tail.write_bytes(tail.read_bytes()[:-50] + b"x" + tail.read_bytes()[-49:])
    (tmp_path / "corpus/twice.wav").write_bytes(wav.read_bytes() * 2)
    wav.write_bytes(wav.read_bytes()[:-32000])
    data = bytearray(ogg.read_bytes())
    data[len(data) // 2] ^= 1
    ogg.write_bytes(data)
    write("integers.wav", np.round(tone(440, 1.0) * 32768), subtype="FLOAT")
    write("good.wav", tone(440, 1.0))
    store = packed(tmp_path)
    assert {c.path: c.samples for c in store.clips} == {"good.wav": 16000, "cut.wav": 16000, "twice.wav": 64000}
    reasons = {b.path: b.reason for b in (*store.broken, *build_manifest(tmp_path / "corpus").broken)}
    assert "pages are broken or missing" in reasons["tail.ogg"]
    assert "pages are broken or missing" in reasons["damaged.ogg"]
    assert "full scale is -1 to 1" in reasons["integers.wav"]
    assert "cut.wav: declares 32000 samples, but holds 16000" in caplog.text
