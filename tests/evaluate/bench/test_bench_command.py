"""`mixcodec bench` as users run it."""

import json
import sys

import pytest

from mixcodec.cli.main import main
from mixcodec.evaluate.bench import BenchSettings
from mixcodec.evaluate.bench.run import find_peers

SHORT = ["--threads", "1", "--seconds", "0.5", "--memory-seconds", "0.5", "1"]


def test_a_short_run_on_the_shipped_model(tmp_path, capsys):
    target = tmp_path / "results.json"
    assert main(["bench", "--peers", "none", *SHORT, "--repeats", "2", "-o", str(target)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(target.read_text())
    assert [subject["name"] for subject in found["subjects"]] == ["speech-16k"]
    assert found["about"]["command"].startswith("mixcodec bench --models speech-16k --peers none --threads 1 --seconds 0.5 ")
    assert {"cpu", "cores"} <= found["about"]["machine"].keys()
    assert {"numpy", "onnxruntime", "mixcodec"} <= found["about"]["versions"].keys()
    assert {"load_before", "load_after", "date", "audio"} <= found["about"].keys()
    assert [(row["direction"], row["threads"], len(row["samples"])) for row in found["speed"]] == [
        ("encode", 1, 2),
        ("decode", 1, 2),
    ]
    assert all(sample["cpu"] > 0 for row in found["speed"] + found["startup"] for sample in row["samples"])
    assert [row["what"] for row in found["startup"] if row["base"]] == ["import numpy, onnxruntime"]
    assert "mixcodec encode of 0.5 s, speech-16k" in [row["what"] for row in found["startup"]]
    assert {(row["direction"], row["seconds"]) for row in found["memory"]} == {
        (way, seconds) for way in ("encode", "decode") for seconds in (0.5, 1.0)
    }
    assert all(30 < row["megabytes"] < 300 for row in found["memory"])
    assert all(1e8 < row["per_second"] < 1e10 and not row["uncounted"] for row in found["flops"])
    median = found["speed"][0]["times_real_wall"]["median"]
    assert f"{median:.0f}" in printed or f"{median:.1f}" in printed
    assert "| speech-16k 4 kbps encode |" in printed


def test_two_models_are_compared_with_the_first(tiny_model, tmp_path, capsys):
    target = tmp_path / "results.json"
    models = ["--models", str(tiny_model), "speech-16k", "--peers"]  # --peers with no name: none
    assert main(["bench", *models, *SHORT, "--repeats", "1", "--limit-gb", "0.02", "--out", str(target)]) == 0
    found = json.loads(target.read_text())
    assert found["ours"] == str(tiny_model)
    assert len(found["speed"]) == 4
    assert {row["problem"] for row in found["memory"]} == {"over 0.02 GB", "not run: 0.5 s was too much"}
    assert "over 0.02 GB" in capsys.readouterr().out


def test_peers_that_are_not_there_are_listed_or_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "transformers", None)
    peers, missing = find_peers(BenchSettings())
    assert peers == []
    assert "apt-get install opus-tools" in missing["opus"]
    assert all("pip install 'mixcodec[bench]'" in missing[name] for name in ("encodec", "dac", "mimi"))
    quick = find_peers(BenchSettings(quick=True))[1]
    assert quick["dac"] == "left out by --quick; --peers dac measures it"
    assert quick["opus"] == missing["opus"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "opuss"], "unknown peer 'opuss': did you mean 'opus'?"),
        (["--models", "speech-17k"], "did you mean 'speech-16k'?"),
        (["--models", "speech-16k", "speech-16k"], "--models names something twice"),
        (["--models"], "name at least one model"),
        (["--threads", "0"], "--threads 0 is out of range"),
        (["--seconds", "nan"], "--seconds nan is out of range"),
        (["--peers", "none", "--audio", "nowhere.wav"], "nowhere.wav: no such file"),
        (["--peers", "none", "-o", "nowhere/results.json"], "the folder nowhere does not exist"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_program_and_a_missing_package_are_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert main(["bench", "--peers", "dac"]) == 2
    assert "dac needs transformers" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["bench", "--peers", "opus"]) == 2
    assert "opus needs the program opusenc; apt-get install opus-tools" in capsys.readouterr().err


@pytest.mark.slow
def test_a_neural_peer_beside_ours(tmp_path, capsys):
    pytest.importorskip("transformers")
    target = tmp_path / "results.json"
    assert main(["bench", "--peers", "encodec", *SHORT, "--repeats", "1", "-o", str(target)]) == 0
    found = json.loads(target.read_text())
    counts = {row["direction"]: row["per_second"] / 1e9 for row in found["flops"] if row["subject"] == "encodec"}
    assert counts == {"encode": pytest.approx(3.1, rel=0.03), "decode": pytest.approx(3.0, rel=0.03)}
    assert "from transformers import EncodecModel" in [row["what"] for row in found["startup"]]
    assert {row["direction"] for row in found["memory"] if row["subject"] == "encodec"} == {"encode"}
    assert "EnCodec 24 kHz 6 kbps" in capsys.readouterr().out
