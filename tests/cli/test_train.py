"""train and export from the command line, on a corpus of two chirps."""

import numpy as np
import pytest
import soundfile as sf
import yaml

from mixcodec import load
from mixcodec.cli.main import main

RECIPE = {
    "name": "two-chirps",
    "codec": {
        "sample_rate": 16000,
        "latent": 8,
        "transform": {"kind": "stft", "hop": 160},
        "encoder": {"width": 8, "stages": [{"mixer": "convolution", "channel": "mlp"}]},
        "quantizer": {"kind": "residual", "codebooks": 2, "codebook": {"size": 16, "dim": 4}},
        "decoder": {"width": 8, "stages": [{"mixer": "convolution", "channel": "mlp"}]},
    },
    "data": {"segment_seconds": 0.3, "batch_size": 2, "processes": 1},
    "codebooks_from": 1,
    "start_frames": 100,
    "accelerator": "cpu",
}


@pytest.fixture
def recipe(tmp_path):
    t = np.arange(16000) / 16000
    (tmp_path / "sound").mkdir()
    for f in (200, 300):
        sf.write(tmp_path / "sound" / f"{f}.wav", 0.3 * np.sin(2 * np.pi * f * t * (1 + t)), 16000)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return [str(path), f"data.root={tmp_path / 'sound'}", f"data.cache_dir={tmp_path / 'cache'}", f"out={tmp_path / 'run'}"]


def fails(capsys, *arguments):
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("mixcodec: ")
    assert error.count("\n") == 1
    return error


def test_train_then_export_then_encode(recipe, tmp_path, capsys):
    assert main(["train", *recipe, "steps=3"]) == 0
    assert "3 steps" in capsys.readouterr().out
    (tmp_path / "quality.md").write_text("Poor.")
    checkpoint, folder = str(tmp_path / "run" / "last.safetensors"), str(tmp_path / "model")
    assert main(["export", checkpoint, folder, "--quality", str(tmp_path / "quality.md")]) == 0
    codec = load(folder)
    assert codec.name == "two-chirps"
    tokens = codec.wave_to_tokens(np.zeros(1234, "float32"), 16000)
    assert codec.tokens_to_wave(tokens).shape == (1234,)
    assert "Poor." in (tmp_path / "model" / "card.md").read_text()


def test_variants_of_a_model_folder(recipe, tmp_path, capsys):
    model, apart, sound = str(tmp_path / "model"), tmp_path / "model-int8", str(tmp_path / "sound")
    assert main(["train", *recipe, "steps=2", "save_every=1"]) == 0
    assert main(["export", str(tmp_path / "run" / "last.safetensors"), model, "--no-tables"]) == 0
    capsys.readouterr()
    fails(capsys, "variant", model, "int8")
    fails(capsys, "variant", model, "float32")
    fails(capsys, "variant", model, "int4", "--data", sound)
    fails(capsys, "variant", model, "int8", sound, "--data", sound)
    assert main(["variant", model, "bf16"]) == 0
    assert "on this machine bf16 encodes " in capsys.readouterr().out.splitlines()[1]
    for _ in range(2):  # a second one replaces the first
        assert main(["variant", model, "int8", str(apart), "--data", sound, "--no-time"]) == 0
    assert capsys.readouterr().out.count("times as fast") == 0
    assert {path.name for path in apart.iterdir()} == {"card.md", "config.json", "decoder.int8.onnx", "encoder.int8.onnx"}
    capsys.readouterr()
    assert main(["info", model]) == 0
    assert "float32, int8, bf16" in capsys.readouterr().out
    wave = f"{sound}/200.wav"
    for variant in ("int8", "bf16"):
        assert main(["roundtrip", wave, "-o", str(tmp_path / "x.wav"), "--model", model, "--variant", variant]) == 0
    assert load(model, variant="int8").fingerprint == load(model).fingerprint


def test_mistakes_are_one_line(recipe, tmp_path, capsys):
    assert "did you mean 'steps'" in fails(capsys, "train", *recipe, "stepz=3")
    assert "cannot be read" in fails(capsys, "train", str(tmp_path / "none.yaml"))
    assert "nowhere" in fails(capsys, "train", *recipe, f"data.root={tmp_path / 'nowhere'}")
    assert "did you mean 'convolution'" in fails(capsys, "train", *recipe, "codec.encoder.stages.0.mixer=convolutoin")
    assert "checkpoint" in fails(capsys, "export", recipe[0], str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
