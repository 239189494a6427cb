"""A bake-off from end to end."""

import dataclasses
import pickle
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from mixcodec.errors import ConfigError, DataError, UsageError
from mixcodec.evaluate.compare import compare, draw_tables, markdown, write_comparison
from mixcodec.evaluate.compare import run as run_module
from mixcodec.evaluate.compare.rows import Rows
from mixcodec.evaluate.compare.score import cost_of_codes
from mixcodec.evaluate.compare.trial import Trial
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.mixers.pooling import Pooling

MEASURED = ("encode_x", "decode_x", "frame_ms", "train_cpu_seconds_a_step", "wall_seconds", "cpu_seconds", "revision")


def scores(comparison):
    """Everything but what a clock said, and which commit the code is of."""
    return {key: [{k: v for k, v in row.items() if k not in MEASURED} for row in rows] for key, rows in comparison.rows.items()}


@pytest.fixture(scope="module")
def mixed(tiny_plan, tmp_path_factory):
    plan = tiny_plan("mixers", "convolution", "fourier", command="mixcodec compare mixers")
    return plan, compare(plan, tmp_path_factory.mktemp("mixed"))


def test_all_kinds_are_trained_scored_and_told(mixed, tmp_path):
    _, comparison = mixed
    assert [v.name + v.mark for v in comparison.variants] == ["convolution", "fourier (offline)", "convolution"]
    assert [v.group for v in comparison.variants] == ["equal parameters", "equal parameters", "equal FLOPs"]
    row = comparison.of(comparison.variants[0])[0]
    assert row["status"] == "done"
    assert row["steps"] == 6
    assert set(row["scores"]) | set(row["problems"]) >= {"mel_distance", "pesq_wb", "stoi"}
    assert row["nominal_bits"] == 8
    assert row["latency_ms"] == 40
    assert row["state_bytes"] == 2 * 2 * 16 * 4  # two stacks of a block that carries two tokens of 16 float32
    assert comparison.of(comparison.variants[1])[0]["state_bytes"] is None
    table, page, plot = write_comparison(comparison, tmp_path)
    text = table.read_text()
    assert "| equal FLOPs | convolution | convolution |" in text  # of the fronts
    drawn = plot.read_text()
    assert draw_tables(table, "mixers")[1] == plot  # from the tables alone, rounded as they are
    names = re.compile(r"<title>(.*?) mel|\">([a-z_]+ ?(?:\(offline\))?)</text>")
    assert names.findall(plot.read_text()) == names.findall(drawn) != []
    assert "```sh\nmixcodec compare mixers\n```" in text
    assert "| fourier (offline) |" in text
    assert "## Equal parameters: difference from convolution" in text
    assert "Not measured" not in text
    html = page.read_text()
    assert "connect-src" not in html
    assert "http-equiv" in html
    assert "fourier (offline)" in html


def test_the_table_holds_the_means_over_clips(mixed):
    _, comparison = mixed
    row = comparison.of(comparison.variants[0])[0]
    mean = np.mean(list(row["scores"]["mel_distance"].values()))
    line = next(line for line in markdown(comparison).splitlines() if line.startswith("| convolution |"))
    assert f"| 2 | {mean:.3f} [" in line


def test_the_same_run_gives_the_same_numbers_and_tables(mixed, tmp_path):
    plan, comparison = mixed
    again = compare(plan, tmp_path)
    assert scores(again) == scores(comparison)
    dated = dataclasses.replace(again, rows=comparison.rows)
    assert markdown(dated) == markdown(comparison)


def test_other_processes_and_other_seeds(mixed, tiny_plan, tmp_path):
    _, comparison = mixed
    plan = tiny_plan("mixers", "convolution", seeds=(0, 1), jobs=2)
    both = compare(plan, tmp_path)
    rows = both.of(both.variants[0])
    assert rows[0]["scores"] == comparison.of(comparison.variants[0])[0]["scores"]
    assert rows[1]["scores"] != rows[0]["scores"]
    means = [np.mean(list(row["scores"]["mel_distance"].values())) for row in rows]
    line = next(line for line in markdown(both).splitlines() if line.startswith("| convolution |"))
    assert f"| {np.std(means, ddof=1):.3f} |" in line


def test_a_run_goes_on_with_the_kinds_that_are_missing(mixed, tiny_plan, tmp_path, monkeypatch):
    _, comparison = mixed
    compare(tiny_plan("mixers", "convolution"), tmp_path)
    trained = []
    really = run_module.run_trial
    monkeypatch.setattr(run_module, "run_trial", lambda task: trained.append(task.variant.name) or really(task))
    plan = tiny_plan("mixers", "convolution", "fourier")
    found = compare(plan, tmp_path)
    assert trained == ["fourier"]
    assert scores(found) == scores(comparison)
    assert not list((tmp_path / "training").iterdir())
    compare(plan, tmp_path)
    assert trained == ["fourier"]
    path = next((tmp_path / "rows").iterdir())
    path.write_bytes(path.read_bytes().replace(b"mel", b"mal"))  # damaged: counts as absent
    assert scores(compare(plan, tmp_path)) == scores(comparison)
    assert len(trained) == 2


def test_a_killed_run_goes_on(tiny_plan, tmp_path):
    """Killed in the middle of its second kind, it keeps the first and ends with the rows of a run that was not."""
    plan = tiny_plan("quantizers", "residual", "simvq")
    code = (
        "import os, signal, pickle, sys\nfrom pathlib import Path\nfrom mixcodec.evaluate.compare import run\n"
        "plan = pickle.loads(sys.stdin.buffer.read())\nreally, done = run.run_trial, []\n"
        "def once(task):\n"
        "    if done: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(task)\n    return really(task)\n"
        f"run.run_trial = once\nrun.compare(plan, Path({str(tmp_path / 'cut')!r}))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(plan), capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = {path.name: path.read_bytes() for path in (tmp_path / "cut" / "rows").iterdir()}
    assert len(kept) == 1
    resumed, whole = compare(plan, tmp_path / "cut"), compare(plan, tmp_path / "whole")
    for place, rows in whole.rows.items():
        assert [row["weights"] for row in resumed.rows[place]] == [row["weights"] for row in rows]
        assert [row["scores"] for row in resumed.rows[place]] == [row["scores"] for row in rows]
    assert all((tmp_path / "cut" / "rows" / name).read_bytes() == body for name, body in kept.items())


def test_a_failing_kind_is_a_row_with_its_reason(tiny_plan, tmp_path, monkeypatch):
    class Sulking(Pooling):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)

        def step(self, x, state):
            if self.training:
                raise RuntimeError("not today,\nnot me | never")
            return super().step(x, state)

    monkeypatch.setitem(MIXERS._classes, "sulking", Sulking)
    plan = tiny_plan("mixers", "convolution", "sulking")
    comparison = compare(plan, tmp_path)
    states = {v.name: comparison.of(v)[0]["status"] for v in comparison.variants}
    assert states == {"convolution": "done", "sulking": "failed"}
    text = markdown(comparison)
    assert "## Not measured" in text
    assert "| sulking | equal parameters | 0 | RuntimeError: not today, not me \\| never |" in text
    monkeypatch.setitem(MIXERS._classes, "sulking", Pooling)  # mended: the next run tries again
    again = compare(plan, tmp_path)
    assert {row["status"] for rows in again.rows.values() for row in rows} == {"done"}


def test_kinds_that_cannot_be_built_each_have_their_reason(tiny_plan, tmp_path, monkeypatch):
    for name in ("first", "second"):

        class Broken(Pooling):
            def __init__(self, channels: int, name=name) -> None:
                raise ConfigError(f"{name} is broken")

        monkeypatch.setitem(MIXERS._classes, name, Broken)
    text = markdown(compare(tiny_plan("mixers", "convolution", "first", "second"), tmp_path))
    for name in ("first", "second"):
        for group in ("equal parameters", "equal FLOPs"):
            assert f"| {name} | {group} | 0 | {name} is broken |" in text


def test_when_the_time_is_up_the_rest_waits(mixed, tiny_plan, tmp_path):
    _, comparison = mixed
    compare(tiny_plan("mixers", "convolution"), tmp_path)
    plan = tiny_plan("mixers", "convolution", "fourier")
    for jobs in (1, 2):
        stopped = compare(dataclasses.replace(plan, minutes=0, jobs=jobs), tmp_path)
        assert {v.name: stopped.of(v)[0]["status"] for v in stopped.variants} == {"convolution": "done", "fourier": "failed"}
        assert "| fourier | equal parameters | 0 | not trained yet: the time was up" in markdown(stopped)
    assert scores(compare(plan, tmp_path)) == scores(comparison)


def test_quantizers_go_on_from_one_autoencoder(tiny_plan, tmp_path):
    plan = tiny_plan("quantizers", "residual", "fsq", "none")
    comparison = compare(plan, tmp_path)
    assert len(list((tmp_path / "shared").iterdir())) == 1
    names = {(v.group, v.name + v.mark) for v in comparison.variants}
    assert names == {
        ("0.4 kbps", "residual (vq)"),
        ("0.4 kbps", "residual (fsq)"),
        ("0.4 kbps", "none (control)"),
        ("one code of 14 bits", "fsq"),
    }
    assert all(row["status"] == "done" for rows in comparison.rows.values() for row in rows), comparison.rows
    assert {row["steps"] for rows in comparison.rows.values() for row in rows} == {3}
    other = compare(tiny_plan("quantizers", "residual", recipe={"lr": 2e-3}), tmp_path)  # another recipe, another autoencoder
    assert len(list((tmp_path / "shared").iterdir())) == 2
    assert scores(other)["0.4 kbps/residual (vq)"] != scores(comparison)["0.4 kbps/residual (vq)"]


def test_coded_bits_are_those_of_counts_on_training_speakers(tiny_plan, tmp_path):
    """Against a loop: an entry's bits are minus log2 of how often it occurred in training, half a time added to all."""
    recipe = dataclasses.replace(tiny_plan("mixers").recipe, out=str(tmp_path))
    trainer = Trial(recipe)
    net = trainer.ema.eval()
    clips = [np.random.default_rng(i).integers(0, 16, (40, 2)) for i in range(3)]
    found = cost_of_codes(net, trainer.data, clips)
    seen = [[0.5] * 16 for _ in range(2)]
    frames = 0
    segments = trainer.data.train_segments()
    while frames < 100:
        wave = torch.from_numpy(segments.batch(2_000_000_000 + frames))[:, : 20 * 320]
        codes = net.encode(wave, net.encoder_state(2))[0]
        for frame in codes.flatten(0, 1).tolist():
            for k, code in enumerate(frame):
                seen[k][code] += 1
            frames += 1
    spent = [-np.log2(seen[k][int(c)] / sum(seen[k])) for clip in clips for frame in clip for k, c in enumerate(frame)]
    assert found["coded_bits"] == pytest.approx(sum(spent) / 120, abs=2e-4)
    assert found["used"] == pytest.approx([np.mean([n > 0.5 for n in row]) for row in seen], abs=1e-5)


def test_rows_survive_being_cut_short(tmp_path):
    rows = Rows(tmp_path)
    rows.write("a", {"status": "done", "x": 1.5})
    whole = (tmp_path / "a.json").read_bytes()
    assert rows.read("a") == {"status": "done", "x": 1.5}
    for length in range(len(whole)):
        (tmp_path / "a.json").write_bytes(whole[:length])
        assert rows.read("a") is None
    assert rows.read("b") is None


def test_what_makes_no_sense_is_said(tiny_plan, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'mixers'"):
        compare(tiny_plan("mixer"), tmp_path)
    with pytest.raises(ConfigError, match="codebooks_from"):
        compare(tiny_plan("mixers", recipe={"codebooks_from": 6}), tmp_path)
    data = tiny_plan("mixers").recipe.as_dict()["data"] | {"validation": []}
    with pytest.raises(DataError, match="held out"):
        compare(tiny_plan("mixers", recipe={"data": data}), tmp_path)
