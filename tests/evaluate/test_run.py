"""Whole runs: nothing is dropped, a stopped run goes on, the same run gives the same numbers."""

import concurrent.futures
import multiprocessing
import os
import shutil
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from mixcodec import read_audio, write_audio
from mixcodec.evaluate import run as running
from mixcodec.evaluate.align import DelayError
from mixcodec.evaluate.baselines import CODERS, parse_points
from mixcodec.evaluate.baselines.anchors import Identity
from mixcodec.evaluate.clips import find_clips
from mixcodec.evaluate.measure import Conditions
from mixcodec.evaluate.run import Plan, evaluate
from mixcodec.temporary import temporary_folder

METRICS = ("stoi", "mel", "stft", "si_sdr", "lsd")


class Late(Identity):
    """Only 7 ms late, and a little too long."""

    kind = "late"

    def decode(self, source, target):
        wave, rate = read_audio(source)
        write_audio(target, np.pad(wave, (7 * rate // 1000, 333)), rate)


class Fails(Identity):
    kind = "fails"

    def encode(self, source, target):
        raise RuntimeError("out of\nluck")


class Lazy(Identity):
    """Says that all went well, and writes nothing."""

    kind = "lazy"

    def encode(self, source, target):
        pass


class Mono(Identity):
    """Gives back one channel whatever it was given."""

    kind = "mono"

    def decode(self, source, target):
        wave, rate = read_audio(source)
        write_audio(target, np.atleast_2d(wave)[0], rate)


class Moody(Identity):
    """Fails until it is told to work."""

    kind = "moody"
    works = False

    def encode(self, source, target):
        if not self.works:
            raise OSError("no space left on device")
        super().encode(source, target)


@pytest.fixture
def plan(data, monkeypatch):
    for coder in (Late, Fails, Lazy, Mono, Moody):
        monkeypatch.setitem(CODERS._classes, coder.kind, coder)

    def make(*specs, jobs=1, root=data, metrics=METRICS, **options):
        conditions = Conditions(root, metrics, 16000, options.pop("mono", True))
        return Plan(tuple(find_clips(root, **options)), tuple(parse_points(specs)), conditions, jobs, gates=False)

    return make


def test_a_codec_that_only_comes_late_scores_as_identity(plan, tmp_path):
    results = evaluate(plan("identity", "late"), tmp_path)
    assert results.about["delays"] == {"identity": 0, "late": 112}
    for one, other in zip(results.of_point("identity"), results.of_point("late"), strict=True):
        assert one.scores == other.scores
        assert one.scores["si_sdr"] == 100


def test_real_bits_of_real_files(plan, data, tmp_path):
    results = evaluate(plan("identity", "lowpass@2000"), tmp_path)
    assert results.rows[0].file_bytes == (data / "clip0.wav").stat().st_size
    assert results.rows[0].seconds == 2
    assert results.rows[1].file_bytes == 44 + 2 * 2 * 4000


def test_what_fails_is_listed_with_its_reason(plan, data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    (root / "manifest.tsv").unlink()
    (root / "noise.wav").write_bytes(b"RIFF not audio at all")
    write_audio(root / "empty.wav", np.zeros(0, np.float32), 16000)
    write_audio(root / "silence.wav", np.zeros(16000, np.float32), 16000)
    results = evaluate(plan("identity", "fails", root=root), tmp_path / "out")
    assert len(results.rows) == 2 * 7, "every clip has a row of every codec"
    found = {(row.clip, row.point): row for row in results.rows}
    assert "not audio" in found["noise.wav", "identity"].problems["codec"]
    assert found["empty.wav", "identity"].problems["codec"]
    assert found["silence.wav", "identity"].problems["stoi"] == "the reference is silent"
    assert found["silence.wav", "identity"].scores["mel_distance"] == 0
    assert found["clip0.wav", "fails"].problems == {"codec": "RuntimeError: out of luck"}
    assert found["clip0.wav", "fails"].file_bytes is None


def test_a_codec_that_writes_nothing_is_no_perfect_copy(plan, tmp_path):
    """Not even after one that was."""
    results = evaluate(plan("identity", "lazy"), tmp_path)
    assert [row.problems for row in results.of_point("lazy")] == [{"codec": "CodingError: its encoder wrote nothing"}] * 4
    assert results.about["delays"]["lazy"] is None


def test_a_codec_that_loses_a_channel_is_not_scored_on_the_other(plan, tmp_path, speech):
    root = tmp_path / "data"
    root.mkdir()
    write_audio(root / "s.wav", np.stack([speech, speech[::-1]]), 16000)
    results = evaluate(plan("identity", "mono", root=root, mono=False), tmp_path / "out")
    assert results.rows[1].problems == {"codec": "CodingError: it was given 2 channels and gave back 1"}


def test_a_failure_is_tried_again(plan, tmp_path, monkeypatch):
    assert all("codec" in row.problems for row in evaluate(plan("moody"), tmp_path).rows)
    monkeypatch.setattr(Moody, "works", True)
    assert not any(row.problems for row in evaluate(plan("moody"), tmp_path).rows)


def test_labels_are_those_of_now(plan, data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    evaluate(plan("identity", root=root), tmp_path / "out")
    table = root / "manifest.tsv"
    table.write_text(table.read_text().replace("\tde\t", "\tfr\t"))
    assert {row.language for row in evaluate(plan("identity", root=root), tmp_path / "out").rows} == {"fr", "en"}


def test_a_delay_beyond_what_is_looked_for_stops_the_run(plan, tmp_path, monkeypatch):
    def decode(self, source, target):
        wave, rate = read_audio(source)
        write_audio(target, np.pad(wave, (rate // 2, 0)), rate)

    monkeypatch.setattr(Late, "decode", decode)
    with pytest.raises(DelayError, match="late: its delay"):
        evaluate(plan("late"), tmp_path)


def test_a_stopped_run_goes_on_without_measuring_twice(plan, tmp_path, monkeypatch):
    whole = evaluate(plan("identity", "lowpass@2000"), tmp_path / "whole")
    measured = []
    original = running.clip_rows

    def counted(clip, *rest):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(clip.name)
        return original(clip, *rest)

    monkeypatch.setattr(running, "clip_rows", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan("identity", "lowpass@2000"), tmp_path / "stopped")
    first = list(measured)
    measured[:] = []
    monkeypatch.setattr(running, "clip_rows", lambda clip, *rest: measured.append(clip.name) or original(clip, *rest))
    resumed = evaluate(plan("identity", "lowpass@2000"), tmp_path / "stopped")
    assert sorted(first + measured) == [f"clip{i}.wav" for i in range(4)]
    assert resumed.rows == whole.rows


def test_a_further_codec_measures_only_itself(plan, tmp_path, monkeypatch):
    evaluate(plan("identity"), tmp_path)
    asked = []
    original = running.clip_rows
    monkeypatch.setattr(running, "clip_rows", lambda c, coders, *rest: asked.extend(coders) or original(c, coders, *rest))
    evaluate(plan("identity", "lowpass@2000"), tmp_path)
    assert {coder.point for coder in asked} == {"lowpass@2000"}


def test_several_processes_give_the_numbers_of_one(plan, tmp_path):
    one = evaluate(plan("identity", "lowpass@2000", metrics=("stoi", "mel")), tmp_path / "one")
    two = evaluate(plan("identity", "lowpass@2000", metrics=("stoi", "mel"), jobs=2), tmp_path / "two")
    assert one.rows == two.rows


def test_codes_are_counted_over_all_clips(plan, tmp_path):
    results = evaluate(plan("mixcodec:speech-16k@1.5", metrics=("mel",)), tmp_path)
    assert [use.codebook for use in results.codebooks][:3] == [1, 2, 3]
    assert all(0 < use.used <= 1 and 1 <= use.perplexity <= use.size for use in results.codebooks)
    again = evaluate(plan("mixcodec:speech-16k@1.5", metrics=("mel",)), tmp_path)
    assert again.codebooks == results.codebooks, "the journal keeps the codes"
    assert 7 < results.codebooks[0].file_bits < 10.1


def test_stereo_is_scored_channel_by_channel(plan, tmp_path, speech):
    root = tmp_path / "data"
    root.mkdir()
    write_audio(root / "s.wav", np.stack([speech, speech[::-1]]), 16000)
    results = evaluate(plan("identity", "lowpass@2000", root=root, mono=False), tmp_path / "out")
    assert results.rows[0].scores["si_sdr"] == 100
    assert not results.rows[1].problems


def linger(folder):
    with temporary_folder(folder) as own:
        (own / "x").touch()
        time.sleep(60)


def test_a_worker_that_is_ended_leaves_no_temporary_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, running.end_with_parent, (os.getpid(),)) as pool:
        future = pool.submit(linger, tmp_path)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".mixcodec-*/x")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for process in list(pool._processes.values()):
            process.terminate()
        with pytest.raises(BrokenProcessPool):
            future.result(20)
    assert list(tmp_path.iterdir()) == []
