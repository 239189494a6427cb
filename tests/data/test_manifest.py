import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcodec.audio import AudioReader
from mixcodec.data import Entry, Manifest, build_manifest, open_store, split_by_speaker
from mixcodec.data import manifest as module
from mixcodec.errors import DataError
from mixcodec.evaluate.clips import find_clips, read_clip
from mixcodec.folders import Found

from .conftest import CLIPS, Write, tone


def test_a_walk_finds_every_format_in_order_and_nothing_else(write: Write, tmp_path: Path) -> None:
    for path in ("b/x.flac", "a/deep/y.WAV", "a/z.ogg", "top.wav", "a/m.mp3"):
        write(path, np.stack([tone(440, 1.0)] * 2, 1), 22050)
    (tmp_path / "corpus/a/notes.txt").write_text("not audio")
    (tmp_path / "corpus/a/.hidden.wav").write_text("not audio")
    manifest = build_manifest(tmp_path / "corpus")
    assert [e.path for e in manifest.entries] == ["a/deep/y.WAV", "a/m.mp3", "a/z.ogg", "b/x.flac", "top.wav"]
    assert [e.source for e in manifest.entries] == ["a/deep", "a", "a", "b", "."]
    assert {(e.rate, e.channels) for e in manifest.entries} == {(22050, 2)}
    assert all(e.seconds == pytest.approx(16000 / 22050, abs=0.1) for e in manifest.entries)  # mp3 pads
    assert not manifest.broken


def test_source_and_speaker_come_from_the_path(write: Write, tmp_path: Path) -> None:
    write("libri/1089/134/a.wav", tone(440, 1.0))
    manifest = build_manifest(tmp_path / "corpus", source_from="first", speaker_regex=r"^\w+/(\d+)/")
    assert manifest.entries[0].unit == "libri/1089"


def test_a_table_labels_and_filters(corpus: Path) -> None:
    both = build_manifest(corpus, split="train", kind="speech")
    assert {e.unit for e in both.entries} == set(CLIPS)
    assert {e.licence for e in both.entries} == {"CC0"}
    assert both.units == pytest.approx({u: sum(s) for u, s in CLIPS.items()})
    assert {e.path for e in build_manifest(corpus, split="eval").entries} == {"held.flac"}
    assert len(build_manifest(corpus, manifest="scan").entries) == len(build_manifest(corpus).entries)


def test_lengths_come_from_the_files_not_from_the_table(write: Write, tmp_path: Path) -> None:
    write("a.wav", tone(440, 2.0))
    (tmp_path / "corpus/my.tsv").write_text("path\tseconds\tsource\na.wav\t99\tme\n")
    assert build_manifest(tmp_path / "corpus", manifest="my.tsv").seconds == 2.0


def test_min_rate_leaves_out_what_is_lower(write: Write, tmp_path: Path) -> None:
    write("low.wav", tone(440, 1.0), 8000)
    write("high.wav", tone(440, 1.0), 24000)
    assert [e.path for e in build_manifest(tmp_path / "corpus", min_rate=16000).entries] == ["high.wav"]


def test_broken_files_are_reported_and_logged(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write("good.wav", tone(440, 1.0))
    write("empty.wav", np.zeros(0, np.float32))
    (tmp_path / "corpus/zero.flac").touch()
    (tmp_path / "corpus/text.ogg").write_text("I am no audio")
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):  # also when the reason comes from the cache
        caplog.clear()
        manifest = build_manifest(tmp_path / "corpus", cache_dir=cache)
        assert [e.path for e in manifest.entries] == ["good.wav"]
        assert [b.path for b in manifest.broken] == ["empty.wav", "text.ogg", "zero.flac"]
        assert all(b.reason for b in manifest.broken)
        assert all(b.path in caplog.text for b in manifest.broken)


def test_a_row_without_its_file_is_reported(write: Write, tmp_path: Path) -> None:
    write("here.wav", tone(440, 1.0))
    (tmp_path / "corpus/manifest.tsv").write_text("path\tsource\nhere.wav\ts\ngone.wav\ts\n")
    assert [b.path for b in build_manifest(tmp_path / "corpus").broken] == ["gone.wav"]


@pytest.mark.parametrize(
    ("table", "options", "says"),
    [
        (None, {}, "no audio"),
        (None, {"split": "train"}, "no manifest.tsv"),
        (None, {"manifest": "my.tsv"}, "no such manifest"),
        (None, {"source_from": "grandparent"}, "grandparent"),
        (None, {"speaker_regex": "("}, "regular expression"),
        (None, {"speaker_regex": "abc"}, "no group"),
        ("path\na.wav\n", {}, "no column source"),
        ("path\tsource\na.wav\ts\n", {"split": "train"}, "no column split"),
        ("path\tsource\tkind\na.wav\ts\tmusic\n", {"kind": "speech"}, "'music'"),
        ("path\tsource\n../a.wav\ts\n", {}, "line 2"),
        ("path\tsource\n" + 200000 * "x" + "\ts\n", {}, "can't be read"),
    ],
)
def test_mistakes_are_data_errors(tmp_path: Path, table: str | None, options: dict[str, str], says: str) -> None:
    if table:
        (tmp_path / "manifest.tsv").write_bytes(table.encode("latin-1"))
    with pytest.raises(DataError, match=says):
        build_manifest(tmp_path, **options)


def test_a_root_that_is_not_there_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        build_manifest(tmp_path / "nowhere")


def test_the_cache_spares_headers_and_notices_changes(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = tmp_path / "corpus", tmp_path / "cache"
    for name in "abc":
        write(f"{name}.wav", tone(440, 1.0))
    read: list[str] = []
    monkeypatch.setattr(module, "AudioReader", lambda path, **options: (read.append(path.name), AudioReader(path, **options))[1])
    first = build_manifest(root, cache_dir=cache)
    assert read == ["a.wav", "b.wav", "c.wav"]
    assert build_manifest(root, cache_dir=cache) == first
    assert len(read) == 3

    write("b.wav", tone(440, 2.0))
    write("d.wav", tone(440, 1.0))
    (root / "c.wav").unlink()
    second = build_manifest(root, cache_dir=cache)
    assert read[3:] == ["b.wav", "d.wav"]
    assert [(e.path, e.seconds) for e in second.entries] == [("a.wav", 1.0), ("b.wav", 2.0), ("d.wav", 1.0)]
    assert second.manifest_hash != first.manifest_hash


@pytest.mark.parametrize("harm", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b.replace(b"16000", b"48000")])
def test_a_damaged_cache_is_built_anew(write: Write, tmp_path: Path, harm) -> None:
    write("a.wav", tone(440, 1.0))
    first = build_manifest(tmp_path / "corpus", cache_dir=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(harm(file.read_bytes()))
    assert build_manifest(tmp_path / "corpus", cache_dir=tmp_path / "cache") == first


def test_hashes_say_same_data_and_same_disk(write: Write, tmp_path: Path) -> None:
    file = write("a.wav", tone(440, 1.0))
    first = build_manifest(tmp_path / "corpus")
    shutil.copytree(tmp_path / "corpus", tmp_path / "copy")
    copy = build_manifest(tmp_path / "copy")
    assert (copy.manifest_hash, copy.cache_key != first.cache_key) == (first.manifest_hash, True)
    os.utime(file, ns=(0, 0))
    touched = build_manifest(tmp_path / "corpus")
    assert (touched.manifest_hash, touched.cache_key != first.cache_key) == (first.manifest_hash, True)


SECONDS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 500)), min_size=1, max_size=30)


@given(SECONDS, st.floats(0.01, 0.99), st.integers(0, 99))
def test_no_speaker_is_on_both_sides(rows: list[tuple[str, int]], fraction: float, seed: int) -> None:
    entries = tuple(Entry(f"{i}.wav", s, 1, 1, "src", who) for i, (who, s) in enumerate(rows))
    manifest = Manifest(Path("/"), entries)
    if len(manifest.units) == 1:
        with pytest.raises(DataError, match="none to train on"):
            split_by_speaker(manifest, fraction=fraction, seed=seed)
        return
    train, valid = split_by_speaker(manifest, fraction=fraction, seed=seed)
    assert set(train.units).isdisjoint(valid.units)
    assert sorted(train.entries + valid.entries, key=lambda e: e.path) == sorted(entries, key=lambda e: e.path)
    assert train.entries
    assert valid.entries
    assert valid.seconds <= max(fraction * manifest.seconds, min(manifest.units.values())) + 1e-9
    assert split_by_speaker(manifest, fraction=fraction, seed=seed) == (train, valid)


def test_speakers_are_held_out_by_name(corpus: Path) -> None:
    manifest = build_manifest(corpus, split="train", kind="speech")
    train, valid = split_by_speaker(manifest, ["game/bob", "words"])
    assert (set(train.units), set(valid.units)) == ({"game/ann"}, {"game/bob", "words/cy", "words/di"})
    assert split_by_speaker(manifest)[1].entries == ()
    with pytest.raises(DataError, match="the nearest is 'game/bob'"):
        split_by_speaker(manifest, ["game/bobb"])
    with pytest.raises(DataError, match="none to train on"):
        split_by_speaker(manifest, ["game", "words"])
    with pytest.raises(DataError, match="not both"):
        split_by_speaker(manifest, ["game"], 0.1)


def test_what_a_folder_holds_besides_is_left_out_and_counted_once(write: Write, tmp_path: Path, caplog) -> None:
    """Links, forks, pipes: none is opened, and train and eval see the same."""
    file, root = write("a/x.wav", tone(440, 1.0)), tmp_path / "corpus"
    (root / "a/._x.wav").write_bytes(b"\0\5\x16\7")
    (root / "link.wav").symlink_to(file)
    (root / "ring").symlink_to(root)
    os.mkfifo(root / "pipe.wav")
    manifest = build_manifest(root, cache_dir=tmp_path / "cache")
    assert [e.path for e in manifest.entries] == ["a/x.wav"]
    assert [b.path for b in manifest.broken] == ["pipe.wav"]
    assert "a named pipe" in caplog.text
    (root / "manifest.tsv").write_text("path\tsource\npipe.wav\ts\na/x.wav\ts\n")
    assert [b.path for b in build_manifest(root).broken] == ["pipe.wav"]
    assert [(clip.name, clip.seconds) for clip in find_clips(root)] == [("a/x.wav", 1.0), ("pipe.wav", 0.0)]
    with pytest.raises(DataError, match="a named pipe"):
        read_clip(root / "pipe.wav", tmp_path / "x.wav", 16000, mono=True)


def test_an_unreadable_folder_is_said_and_is_no_clip(write: Write, tmp_path: Path, caplog, monkeypatch) -> None:
    write("a/x.wav", tone(440, 1.0))
    write("locked/y.wav", tone(440, 1.0))
    walk = Found(("a/x.wav",), (), (("locked", "cannot be read (permission denied)"),))
    monkeypatch.setattr(module, "audio_files", lambda root: walk)
    manifest = build_manifest(tmp_path / "corpus")
    assert [b.path for b in manifest.unread] == ["locked"]
    assert "left out locked: cannot be read (permission denied)" in caplog.text
    assert [clip.name for clip in find_clips(tmp_path / "corpus")] == ["a/x.wav"]
    monkeypatch.setattr(module, "audio_files", lambda root: Found((), (), ((".", "cannot be read (permission denied)"),)))
    with pytest.raises(DataError, match="permission denied"):
        build_manifest(tmp_path / "corpus")


def test_names_that_are_no_utf_8_are_hashed_cached_packed_and_listed(write: Write, tmp_path: Path, caplog) -> None:
    good = write("a.wav", tone(440, 1.0))
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/c\xf6rpus"))
    (root / "s").mkdir(parents=True)
    for name in (b"caf\xe9.wav", b"na\nme.wav"):
        shutil.copy(good, os.fsencode(root / "s") + b"/" + name)
    (root / "s" / os.fsdecode(b"br\xf6ken.wav")).write_bytes(b"x")
    for _ in range(2):  # read, and from the cache
        caplog.clear()
        manifest = build_manifest(root, cache_dir=tmp_path / "cache")
        names = [os.fsencode(e.path) for e in manifest.entries]
        assert names == [b"s/caf\xe9.wav", b"s/na\nme.wav"]
        assert len(manifest.manifest_hash) == len(manifest.cache_key) == 64
        assert r"left out s/br\udcf6ken.wav: " in caplog.text
        assert [c.path for c in open_store(manifest, 16000, tmp_path / "cache").clips] == [e.path for e in manifest.entries]
    (tmp_path / "list").write_bytes(b"s/caf\xe9.wav\n")
    assert [os.fsencode(clip.name) for clip in find_clips(root, tmp_path / "list")] == [b"s/caf\xe9.wav"]
    with open(os.fsencode(root) + b"/manifest.tsv", "wb") as table:
        table.write(b"path\tsource\ns/caf\xe9.wav\tS\xf6urce\n")
    assert [e.unit for e in build_manifest(root).entries] == [os.fsdecode(b"S\xf6urce")]


def test_many_files_that_are_left_out_are_counted(write: Write, tmp_path: Path, caplog) -> None:
    write("good.wav", tone(440, 1.0))
    for i in range(30):
        (tmp_path / f"corpus/{i:02}.wav").touch()
    manifest = build_manifest(tmp_path / "corpus")
    assert len(manifest.broken) == 30
    assert all("empty" in b.reason for b in manifest.broken)
    assert len(caplog.messages) == 20
    assert caplog.messages[-1].startswith("left out 11 more, the last: 29.wav: is empty")


def with_total(path: Path, total: int) -> None:
    """Lets a flac tell another number of samples."""
    data = bytearray(path.read_bytes())
    numbers = int.from_bytes(data[18:26], "big")
    data[18:26] = (numbers >> 36 << 36 | total).to_bytes(8, "big")
    path.write_bytes(data)


@pytest.mark.parametrize("total", [0, 1000, 50_000, (1 << 36) - 1])
def test_a_flac_does_not_count_as_what_it_is_not(write: Write, tmp_path: Path, total: int) -> None:
    """Of unknown length (libsndfile: 2^63 - 1 samples) or of a false one: it would eat the split."""
    for name in "abc":
        write(f"{name}/{name}.flac", tone(440, 2.0))
    with_total(tmp_path / "corpus/a/a.flac", total)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        manifest = build_manifest(tmp_path / "corpus", cache_dir=cache)
        assert [e.frames for e in manifest.entries] == [2 * 16000] * 3
        train, valid = split_by_speaker(manifest, fraction=0.4)
        assert (len(train.entries), len(valid.entries)) == (2, 1)


def test_headers_that_are_not_true_and_joined_files(write: Write, tmp_path: Path) -> None:
    wav = write("good.wav", tone(440, 1.0)).read_bytes()
    at = wav.index(b"data") + 4
    written = {
        "zero.wav": wav[:at] + bytes(4) + wav[at + 4 :],
        "largest.wav": wav[:at] + b"\xff" * 4 + wav[at + 4 :],
        "twice.wav": wav * 2,
        "twice.ogg": write("good.ogg", tone(440, 1.0)).read_bytes() * 2,
        "twice.mp3": write("good.mp3", tone(440, 1.0)).read_bytes() * 2,
    }
    for name, data in written.items():
        (tmp_path / "corpus" / name).write_bytes(data)
    manifest = build_manifest(tmp_path / "corpus")
    assert {e.path: round(e.seconds, 1) for e in manifest.entries} == {
        name: 2.0 if "twice" in name else 1.0 for name in [*written, "good.wav", "good.ogg", "good.mp3"]
    }
    assert not manifest.broken


def test_a_cache_of_false_lengths_is_built_anew(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.flac", tone(440, 1.0))
    with_total(tmp_path / "corpus/a.flac", 0)
    monkeypatch.setattr("mixcodec.data.manifest.CACHE_VERSION", 1)
    monkeypatch.setattr("mixcodec.data.manifest._header", lambda path: [(1 << 63) - 1, 16000, 1])
    assert build_manifest(tmp_path / "corpus", cache_dir=tmp_path / "cache").entries[0].frames == (1 << 63) - 1
    monkeypatch.undo()
    assert build_manifest(tmp_path / "corpus", cache_dir=tmp_path / "cache").entries[0].frames == 16000
