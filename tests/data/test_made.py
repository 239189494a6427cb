"""Speech made from text: what is read, and that a run goes on where it stopped."""

import csv
import gzip
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from mixcodec.data import made


def test_sentences_are_plain_english_each_once(tmp_path):
    good = "The quick brown fox jumps over the lazy dog near the river."
    (tmp_path / "a.txt").write_text(
        f"Heading\n\n{good} $x = foo(1, 2); Call me at 555-1234 or not at all, my dear old friend.\n{good}"
    )
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"Another sentence that is long enough stands in a packed file here."))
    (tmp_path / "c.bin").write_text("A sentence in a file of another kind is not looked at by anybody.")
    (tmp_path / "d.gz").write_bytes(b"no gzip at all")
    assert list(made.sentences([tmp_path])) == [good, "Another sentence that is long enough stands in a packed file here."]


class Voice:
    """Noise in place of a voice: half a second a word."""

    sample_rate = 24000

    def __init__(self, threads=1):
        pass

    def __call__(self, text, speed, seed):
        assert made.SPEEDS[0] <= speed <= made.SPEEDS[1]
        return np.random.default_rng(seed).uniform(-0.1, 0.1, 12000 * len(text.split())).astype(np.float32)


@pytest.fixture
def voice(monkeypatch):
    module = type(sys)("hibari")
    module.Hibari = Voice
    monkeypatch.setitem(sys.modules, "hibari", module)


def test_a_run_goes_on_and_parts_share_the_work(voice, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"This is the sentence with number {word}.\n" for word in ("one", "two", "three", "four")))
    for part in ("0/2", "1/2"):
        assert made.main([str(tmp_path / "both"), "--texts", str(texts), "--part", part]) == 0
    assert made.main([str(tmp_path / "one"), "--texts", str(texts)]) == 0
    first = {p.name: p.read_bytes() for p in (tmp_path / "one").rglob("*.flac")}
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "both").rglob("*.flac")}
    assert len(first) == 4
    rows = list(csv.DictReader((tmp_path / "both" / "manifest.tsv").open(), delimiter="\t"))
    assert [row["source"] for row in rows] == ["hibari-tts"] * 4
    path = tmp_path / "both" / rows[0]["path"]
    assert abs(sf.info(path).duration - float(rows[0]["seconds"])) < 0.01
    assert path.with_suffix(".txt").read_text().startswith("This is the sentence")
    path.write_bytes(b"kept as it is")  # what is there is not made again
    sizes = [p.stat().st_mtime_ns for p in sorted((tmp_path / "one").rglob("*.flac"))]
    assert made.main([str(tmp_path / "one"), "--texts", str(texts)]) == 0
    assert sizes == [p.stat().st_mtime_ns for p in sorted((tmp_path / "one").rglob("*.flac"))]


def test_what_is_missing_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "hibari", None)
    assert made.main([str(tmp_path), "--places", str(tmp_path)]) == 2
    assert "pip install" in capsys.readouterr().err
    assert made.main([str(tmp_path), "--texts", str(tmp_path / "none.txt")]) == 2
    assert "none.txt: cannot be read" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "mixcodec.data.made", str(tmp_path), "--part", "2/2"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--part" in done.stderr
