"""A codec for a folder of one's own: configs/starter.yaml, which has no codec but that of the model it begins with."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from mixcodec import load
from mixcodec.cli.main import main
from mixcodec.errors import ConfigError
from mixcodec.train import Trainer, load_checkpoint, load_recipe
from mixcodec.train.export import export_checkpoint

STARTER = Path(__file__).parents[2] / "configs" / "starter.yaml"
QUICK = ["steps=4", "validate_every=2", "save_every=2", "accelerator=cpu", "data.processes=1", "data.segment_seconds=0.4"]
QUICK += ["data.validation_batches=1", "precision=32-true", "adversary.crop_seconds=0.2", "loss.envelope=0", "loss.loudness=0"]
QUICK += ["judges=[]"]


@pytest.fixture(scope="module")
def model(tiny_recipe, tmp_path_factory):
    """A model folder of the tiny codec, with discriminators that have been trained."""
    place = tmp_path_factory.mktemp("model")
    trainer = Trainer(tiny_recipe(out=str(place / "run")))
    trainer.run()
    export_checkpoint(trainer.checkpoint, place / "tiny", tables=False)
    return place / "tiny"


@pytest.fixture
def words(tiny_recipe, model, tmp_path):
    """What stands behind `mixcodec train`: the starter on a folder of nine files of three speakers, from the tiny model."""
    places = [f"data.root={tiny_recipe().data.root}", f"data.cache_dir={tmp_path / 'cache'}", f"out={tmp_path / 'my-codec'}"]
    return [str(STARTER), *places, *QUICK, "--initial", str(model)]


def test_by_default_it_goes_on_from_the_shipped_model():
    recipe = load_recipe(STARTER)
    config = json.loads((Path(load("speech-16k").config.folder) / "config.json").read_text())
    assert recipe.initial == "speech-16k"
    assert recipe.codec == config["codec"]
    assert recipe.name == "my-codec"
    assert (recipe.loss.recognition, recipe.loss.words, recipe.teacher.kind) == (0, 0, ""), "no recogniser"
    assert (recipe.data.manifest, recipe.data.split, recipe.data.validation) == ("auto", "", ())
    assert recipe.adversary.discriminator == config["recipe"]["adversary"]["discriminator"]
    assert recipe.adversary.begin > 10**6, "it brings no discriminators"
    assert set(yaml.safe_load(STARTER.read_text())) >= {"name", "initial"}


def test_the_codec_is_that_of_the_model_and_can_be_changed(model):
    recipe = load_recipe(STARTER, initial=model)
    config = json.loads((model / "config.json").read_text())
    assert (recipe.codec, recipe.initial) == (config["codec"], str(model))
    assert (recipe.loss.windows, recipe.loss.bands) == ((128, 256), (10, 20))
    assert recipe.loss.mel == 1.5, "what the recipe says stays"
    for way in ({"overrides": [f"initial={model}"]}, {"initial": model, "overrides": ["initial=speech-24k"]}):
        assert load_recipe(STARTER, **way) == recipe
    assert load_recipe(STARTER, ["codec.latent=9"], initial=model).codec == config["codec"] | {"latent": 9}
    assert load_recipe(STARTER, initial="speech-24k").data.sample_rate == 24000
    assert load_recipe(STARTER, initial="speech-24k").adversary.begin == 0, "it brings discriminators"
    assert load_recipe(STARTER, initial="speech-16k-single").adversary.begin > 10**6, "it brings none"


@pytest.mark.parametrize("initial", ["speech-61k", "no/such/folder", "", "3"])
def test_an_initial_that_is_not_there_is_one_line(initial, tmp_path):
    with pytest.raises(ConfigError, match=r"initial|needs codec") as error:
        load_recipe(STARTER, [f"initial={initial}" if initial else "initial=''"])
    assert "\n" not in str(error.value)


def test_one_command_trains_exports_and_codes(words, tiny_recipe, model, tmp_path, capfd):
    assert main(["train", *words]) == 0
    said = capfd.readouterr()
    assert "best by validation is step" in said.out
    assert "held out for validation: 1 of 9 files, 2 s" in said.err
    assert said.err.count("valid at step 0: ") == 1, "what there is to improve on is known from the start"
    assert "\r" not in said.err
    assert "\x1b" not in said.err
    assert main(["export", str(tmp_path / "my-codec" / "best.safetensors"), str(tmp_path / "model")]) == 0
    wave = f"{tiny_recipe().data.root}/s0/0.wav"
    assert main(["roundtrip", wave, "-o", str(tmp_path / "x.wav"), "--model", str(tmp_path / "model")]) == 0
    assert load(tmp_path / "model").name == "my-codec"
    meta = load_checkpoint(tmp_path / "my-codec" / "last.safetensors")[1]
    assert [entry["step"] for entry in meta["history"]] == [0, 2, 4]
    assert meta["recipe"]["initial"] == str(model)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["recipe"]["initial"] == "tiny", "no place on this machine"


def test_the_same_command_goes_on_and_then_is_finished(words, tmp_path, capfd):
    assert main(["train", *words]) == 0
    assert main(["train", *words]) == 0
    assert "is finished: it has 4 steps" in capfd.readouterr().out
    assert main(["train", *words, "steps=6"]) == 0
    said = capfd.readouterr()
    assert "taken: steps (4 before, now 6)" in said.err
    assert "6 steps; the newest state is" in said.out
    assert main(["train", *words, "codec.latent=9"]) == 2
    error = capfd.readouterr().err
    assert "another codec.latent (8 before, now 9)" in error
    assert error.count("\n") == 1


def test_it_goes_on_with_the_codec_that_it_has(words, model, tmp_path, capfd):
    """Though the model that it began with is another one by now, or gone."""
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    words[-1] = str(moved)
    assert main(["train", *words]) == 0
    config = json.loads((moved / "config.json").read_text())
    config["codec"]["latent"] = 99
    (moved / "config.json").write_text(json.dumps(config))
    assert main(["train", *words, "steps=5"]) == 0
    shutil.rmtree(moved)
    assert main(["train", *words, "steps=6"]) == 0
    assert "6 steps" in capfd.readouterr().out


def test_hours_instead_of_steps(words, tmp_path, capfd):
    assert main(["train", *words, "--hours", "0.000001"]) == 0
    assert "1 steps; the newest state is" in capfd.readouterr().out
    meta = load_checkpoint(tmp_path / "my-codec" / "last.safetensors")[1]
    assert meta["recipe"]["hours"] == 1e-6
    assert meta["history"][-1]["step"] == 1, "it is validated and saved at its end"
    assert main(["train", *words, "--hours", "-1"]) == 2
    assert "hours is -1.0" in capfd.readouterr().err


def test_a_run_that_gains_nothing_says_so(words, tmp_path, capfd):
    assert main(["train", *words, "lr=10", "warmup=0", "ema=0"]) == 0
    assert "step 0, the weights that it began with: nothing was gained (score " in capfd.readouterr().out
    best, _ = load_checkpoint(tmp_path / "my-codec" / "best.safetensors")
    last, _ = load_checkpoint(tmp_path / "my-codec" / "last.safetensors")
    assert not torch.equal(best["ema.encoder.enter.weight"], last["ema.encoder.enter.weight"])


def test_a_folder_whose_name_is_no_utf_8(words, tiny_recipe, tmp_path, capfd):
    root = tmp_path / os.fsdecode(b"aufn\xe4hmen")
    shutil.copytree(tiny_recipe().data.root, root)
    words[1] = f"data.root={root}"
    assert main(["train", *words]) == 0
    assert main(["train", *words]) == 0
    assert "is finished" in capfd.readouterr().out


def test_a_model_without_weights_is_one_line(words, model, tmp_path, capfd):
    shutil.copytree(model, tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    words[-1] = str(tmp_path / "bare")
    assert main(["train", *words]) == 2
    assert "has no weights to train (no model.safetensors)" in capfd.readouterr().err


GUIDE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
LINES = [
    shlex.split(line)[1:]
    for line in re.search(r"```sh\n(mixcodec train configs/starter.*?)```", GUIDE, re.DOTALL)[1].splitlines()
]


def test_the_guide_trains_exports_encodes_and_decodes():
    assert [line[0] for line in LINES] == ["train", "export", "encode", "decode"]
    recipe = load_recipe(STARTER, ["data.root=recordings"])
    assert LINES[1][1] == str(recipe.folder / "best.safetensors")
    assert LINES[1][2] == recipe.name
    assert LINES[2][-1] == LINES[3][-1] == f"./{recipe.name}"


@pytest.mark.slow
def test_the_lines_of_the_guide_work(tmp_path, monkeypatch, capfd):
    """As they stand, but for the hours, on two short clips and with the shipped model."""
    root = Path(__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    for link, target in (("configs", "configs"), ("recordings", "examples"), ("examples", "examples")):
        Path(link).symlink_to(root / target)
    line = [*LINES[0][:-1], "0.002", f"data.cache_dir={tmp_path / 'cache'}", "data.processes=1"]
    assert LINES[0][-2:] == ["--hours", "1"]
    for words in (line, *LINES[1:]):
        assert main(words) == 0, capfd.readouterr().err
    assert Path("talk.wav").is_file()
    assert load("./my-codec").fingerprint != load("speech-16k").fingerprint
