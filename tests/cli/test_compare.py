"""mixcodec compare as a user runs it, and the user's mistakes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml

from mixcodec.cli.main import main

ROOT = Path(__file__).parents[2]
STACK = {"width": 16, "stages": [{"depth": 1, "mixer": "pooling", "channel": {"kind": "mlp", "expansion": 4}}]}
RECIPE = {
    "name": "tiny",
    "codec": {
        "sample_rate": 16000,
        "latent": 8,
        "transform": {"kind": "stft", "hop": 320},
        "encoder": STACK,
        "quantizer": {"kind": "residual", "codebooks": 2, "codebook": {"kind": "vq", "size": 16, "dim": 4}},
        "decoder": STACK,
    },
    "data": {"segment_seconds": 0.4, "batch_size": 2, "processes": 1, "validation": ["s1"]},
    "loss": {"windows": [256], "bands": [20]},
    "steps": 6,
    "codebooks_from": 3,
    "start_frames": 64,
    "accelerator": "cpu",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two voices, a recipe and a list of clips in the working directory."""
    t = np.arange(24000) / 16000
    for voice in range(2):
        (tmp_path / "voices" / f"s{voice}").mkdir(parents=True)
        for take in range(2):
            f = 120 + 60 * voice + 10 * take
            tone = sum(np.sin(2 * np.pi * f * k * t * (1 + 0.1 * t)) / k for k in range(1, 12))
            sf.write(tmp_path / "voices" / f"s{voice}" / f"{take}.wav", 0.1 * tone * (0.6 + 0.4 * np.sin(9 * t)), 16000)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "list.txt").write_text("s1/0.wav\n")
    monkeypatch.chdir(tmp_path)
    few = {"SPEED_SECONDS": 0.5, "SPEED_RUNS": 1, "STREAM_FRAMES": 4, "LEAST_FRAMES": 100, "MOST_FRAMES": 200}
    for name, value in few.items():
        monkeypatch.setattr(f"mixcodec.evaluate.compare.score.{name}", value)
    return tmp_path


def run(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["mixcodec", "compare", *map(str, words)])
    status = main()
    said = capsys.readouterr()
    return status, said.out, said.err


BASE = ("data.cache_dir=cache", "--recipe", "tiny.yaml", "--data", "voices", "--jobs", 1, "--out", "out")


def test_two_kinds_from_the_command_line(folder, capsys, monkeypatch):
    words = ["mixers", *BASE, "--kinds", "pooling", "identity", "--steps", "4", "--seed", "3", "--list", "list.txt"]
    status, said, told = run(capsys, monkeypatch, *words)
    assert status == 0, told
    assert "4 variants, 0 rows not measured" in said
    assert "seed 3" in told
    files = {"comparison.html", "comparison.md", "comparison.pareto.svg"}
    assert {path.name for path in (folder / "out").iterdir()} == files | {"rows", "training"}
    text = (folder / "out" / "comparison.md").read_text()
    assert "mixcodec compare mixers data.cache_dir=cache --recipe tiny.yaml" in text
    assert "4 steps of 0.8 s" in text
    assert "1 clips, a list" in text
    assert (folder / "out" / "comparison.html").stat().st_size > 1e6
    rows = sorted((folder / "out" / "rows").iterdir())
    before = [path.stat().st_mtime_ns for path in rows]
    status, said, told = run(capsys, monkeypatch, *words)  # everything is there: nothing is trained again
    assert status == 0
    assert f"0 of {len(rows)} rows to train" in told
    assert [path.stat().st_mtime_ns for path in rows] == before


def test_recipes_from_the_command_line(folder, capsys, monkeypatch):
    (folder / "no-ema.yaml").write_text("base: tiny.yaml\nema: 0\n")
    words = ["recipes", "no-ema.yaml", "ema=0.5", *BASE, "--steps", "4", "--clips", "2", "--clip-seconds", "1"]
    status, said, told = run(capsys, monkeypatch, *words)
    assert status == 0, told
    assert "2 variants, 0 rows not measured" in said
    text = (folder / "out" / "comparison.md").read_text()
    assert "## Recipes: difference from tiny" in text
    assert "| no-ema | 2 |" in text


def test_the_plot_in_the_docs_is_drawn_from_the_tables_in_the_docs(folder, capsys, monkeypatch):
    (folder / "mixers.md").write_text((ROOT / "docs" / "mixers.md").read_text())
    status, said, told = run(capsys, monkeypatch, "mixers", "--tables", "mixers.md")
    assert status == 0, told
    assert said.endswith("\nmixers.pareto.svg\n")
    for line in said.splitlines():
        if line.startswith("| Equal"):
            assert line in (ROOT / "docs" / "mixers.md").read_text()
    assert (folder / "mixers.pareto.svg").read_text() == (ROOT / "docs" / "mixers.pareto.svg").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipes", "nofile.yaml", *BASE], "nofile.yaml: cannot be read"),
        (["recipes", *BASE], "configs/ablations has no recipes"),
        (["recipes", "tiny.yaml", *BASE], "two of the recipes are called 'tiny'"),
        (["recipes", "tiny.yaml", "stepz=9", *BASE], "did you mean 'steps'"),
        (["mixers", "tiny.yaml", *BASE], "'tiny.yaml' is no override"),
        (["mixer", *BASE], "no part 'mixer' to compare: did you mean 'mixers'?"),
        (["mixers", *BASE, "--kinds", "poolin"], "no mixer 'poolin': did you mean 'pooling'?"),
        (["quantizers", *BASE, "--kinds", "simvk"], "no quantizer 'simvk': did you mean 'simvq'?"),
        (["mixers", *BASE, "--jobs", "0"], "--jobs is 0"),
        (["mixers", *BASE, "--minutes", "-1"], "--minutes is -1"),
        (["mixers", *BASE, "hours=1"], "hours has no meaning in a comparison"),
        (["mixers", *BASE, "--seeds", "1", "1"], "--seeds"),
        (["mixers", *BASE, "--seeds", "-1"], "--seeds"),
        (["mixers", *BASE, "--clips", "0"], "--clips"),
        (["mixers", *BASE, "--clip-seconds", "0.1"], "--clip-seconds"),
        (["mixers", *BASE, "--steps", "0"], "steps is 0"),
        (["mixers", *BASE, "--step", "9"], "--steps"),
        (["mixers", "stepz=9", *BASE], "did you mean 'steps'"),
        (["mixers", *BASE, "--list", "nolist.txt"], "nolist.txt"),
        (["mixers", *BASE[:-4], "--out", "tiny.yaml"], "tiny.yaml"),
        (["mixers", "--tables", "list.txt"], "list.txt: has no table whose first column is 'token mixer'"),
        (["mixers", "--tables", "notables.md"], "notables.md: cannot be read"),
        (["mixers", "--recipe", "norecipe.yaml"], "norecipe.yaml: cannot be read"),
        (["mixers", "--recipe", "tiny.yaml", "--data", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(words, message, folder, capsys, monkeypatch):
    status, _, said = run(capsys, monkeypatch, *words)
    assert status == 2
    assert message in said
    assert said.count("\n") == 1, said
    assert not (folder / "out").exists()


@pytest.mark.parametrize(("part", "file"), [("mixers", "compare/mixers"), ("recipes", "speech-16k")])
def test_away_from_the_usual_recipe_the_message_says_how_to_name_another(part, file, capsys, monkeypatch):
    code, _, err = run(capsys, monkeypatch, part)
    assert code == 2
    assert f"configs/{file}.yaml" in err
    assert "--recipe" in err


@pytest.mark.parametrize("part", ["quantizers", "mixers"])
def test_the_shipped_recipes_are_found_from_the_root(part, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    status, _, said = run(capsys, monkeypatch, part, "--data", "nowhere", "--kinds", "vq" if part == "quantizers" else "pooling")
    assert status == 2
    assert "nowhere" in said
